// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <lockstep/core/error.hpp>

namespace lockstep {

/// A collective that cannot complete: the ranks disagree about the call, a rank has left or did not come in time, or
/// the transport failed. The message names the ranks and the call.
class communicator_error : public error {
  using error::error;
};

}  // namespace lockstep
