// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

namespace lockstep {

/// A layer or a `sequential` whose parameters do not learn, as after requires_grad_(False) in PyTorch:
/// `frozen<named<"conv1", conv2d<...>>>` and `named<"conv1", frozen<conv2d<...>>>` are the same.
///
/// The parameters keep their names, their place among the others and their initial values; they are read, assigned,
/// saved and loaded as before. They have no gradients and no optimizer state, and no update, weight decay or reduction
/// touches them. Layers with nothing that learns before them compute no gradient of their input, so that backward ends
/// at the first layer that learns. The plan keeps learning parameters in one contiguous range, the frozen ones behind.
///
/// Only parameters are frozen, not the mode: a frozen dropout still drops while training (eval() is another thing), and
/// layers without parameters behave as they do outside.
template <class Layer>
struct frozen {};

}  // namespace lockstep
