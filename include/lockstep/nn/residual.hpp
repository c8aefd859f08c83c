// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <lockstep/nn/identity.hpp>

namespace lockstep {

/// y = Shortcut(x) + Body(x), as in He et al., "Deep Residual Learning" (CVPR 2016). Both have the same output extents.
///
/// The body adds nothing to the paths of its layers, as if it stood in the place of the residual; a shortcut that is
/// not `named` is called `shortcut`. A relu after the residual becomes part of its addition.
template <class Body, class Shortcut = identity>
struct residual {};

}  // namespace lockstep
