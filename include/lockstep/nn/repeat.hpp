// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <lockstep/core/config.hpp>

namespace lockstep {

/// N copies of a layer or network one after the other, each with parameters of its own, named 0, 1, ..., N - 1.
template <int N, class Layer>
struct repeat {};

}  // namespace lockstep
