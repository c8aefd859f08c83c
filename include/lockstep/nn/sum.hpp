// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <lockstep/core/config.hpp>

namespace lockstep {

/// The sum of branches that read the same value: y = A(x) + B(x) + ..., added from left to right. All branches have the
/// same output extents. A branch that is not `named` takes its position as its name, as in `sequential`. A relu after
/// the sum becomes part of it.
template <class... Branches>
struct sum {};

}  // namespace lockstep
