// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <lockstep/core/config.hpp>

namespace lockstep {

/// A layer or a `sequential` whose parameters do not learn, as after requires_grad_(False) in PyTorch:
/// `frozen<named<"conv1", conv2d<...>>>` and `named<"conv1", frozen<conv2d<...>>>` are the same.
///
/// The parameters keep their names, their place among the others and their initial values; they are read, assigned,
/// saved and loaded like all others. They have no gradients and no optimizer state, and no update, weight decay or
/// reduction touches them. A layer with no learning layer before it computes no gradient of its input, so backward ends
/// at the first layer that learns. The plan keeps learning parameters in one contiguous range and puts frozen ones
/// after it.
///
/// `frozen` does not change the mode: a dropout inside it drops while training (PyTorch's eval() is something else),
/// and other layers without parameters behave as they do outside.
template <class Layer>
struct frozen {};

}  // namespace lockstep
