// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <lockstep/nn/real.hpp>

/// \file
/// Options of several layers that normalise.

namespace lockstep {

/// What is added to a variance, or to a mean square.
template <real Epsilon>
struct epsilon {};
/// Without weight and bias.
struct no_affine {};

}  // namespace lockstep
