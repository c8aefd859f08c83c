// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <lockstep/backend/reference/reference.hpp>

namespace lockstep {

/// Stands in for the CPU backend in a build without oneDNN. A program may name it, as the default of `data_parallel`
/// does, but can make nothing of it. The type is complete, so that a compiler reports a single error.
struct cpu : reference<float> {
  static constexpr bool missing = true;
};

}  // namespace lockstep
