// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <lockstep/core/error.hpp>

namespace lockstep {

/// A collective that cannot end well: ranks that disagree about the call, a rank that left, one that did not come in
/// time, a transport that failed. The message names the ranks and the call.
class communicator_error : public error {
  using error::error;
};

}  // namespace lockstep
