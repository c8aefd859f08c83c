// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <lockstep/lockstep.hpp>

/// \file
/// The network of golden/norms_model.safetensors, with PyTorch's names.

namespace lockstep_test {

namespace residual_parts {

namespace ls = lockstep;

template <int Channels, int Stride = 1>
using conv3 = ls::conv2d<Channels, 3, ls::stride<Stride>, ls::padding<1>, ls::no_bias>;
using norm = ls::batch_norm2d<>;

template <int Channels, int Stride, class Shortcut>
using block = ls::sequential<
    ls::named<"", ls::residual<ls::sequential<ls::named<"conv1", conv3<Channels, Stride>>, ls::named<"bn1", norm>,
                                              ls::relu, ls::named<"conv2", conv3<Channels>>, ls::named<"bn2", norm>>,
                               Shortcut>>,
    ls::relu>;
using downsample = ls::named<"downsample", ls::sequential<ls::conv2d<6, 1, ls::stride<2>, ls::no_bias>, norm>>;

}  // namespace residual_parts

using residual_layers = lockstep::sequential<
    lockstep::named<"conv1", residual_parts::conv3<8>>, lockstep::named<"bn1", residual_parts::norm>, lockstep::relu,
    lockstep::named<"layer1", lockstep::sequential<residual_parts::block<8, 1, lockstep::identity>>>,
    lockstep::named<"layer2", lockstep::sequential<residual_parts::block<6, 2, residual_parts::downsample>>>,
    lockstep::avg_pool2d<4>, lockstep::flatten, lockstep::named<"fc", lockstep::linear<6, 5>>>;

}  // namespace lockstep_test
