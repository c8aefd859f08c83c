// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <lockstep/backend/reference/reference.hpp>

namespace lockstep {

/// Stands for the CPU backend of a build without oneDNN: a program may name it, as the default of `data_parallel` does,
/// and nothing can be made of it. Complete, so that a compiler has one thing to say.
struct cpu : reference<float> {
  static constexpr bool missing = true;
};

}  // namespace lockstep
