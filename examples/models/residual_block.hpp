// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <lockstep/lockstep.hpp>

/// \file
/// The basic block of residual networks, as in He et al., "Deep Residual Learning for Image Recognition" (2015), under
/// torchvision's names.

namespace models::residual_block {

namespace ls = lockstep;

template <int Channels, int Stride>
using conv3x3 = ls::conv2d<Channels, 3, ls::stride<Stride>, ls::padding<1>, ls::no_bias>;

template <int Channels, int Stride>
using body = ls::sequential<ls::named<"conv1", conv3x3<Channels, Stride>>, ls::named<"bn1", ls::batch_norm2d<>>,
                            ls::relu, ls::named<"conv2", conv3x3<Channels, 1>>, ls::named<"bn2", ls::batch_norm2d<>>>;

template <int Channels>
using projection =
    ls::named<"downsample", ls::sequential<ls::conv2d<Channels, 1, ls::stride<2>, ls::no_bias>, ls::batch_norm2d<>>>;

// The residual adds nothing to the paths of its layers.
template <class Body, class Shortcut = ls::identity>
using block = ls::sequential<ls::named<"", ls::residual<Body, Shortcut>>, ls::relu>;

/// `Blocks` blocks that keep the extents.
template <int Channels, int Blocks>
using stage = ls::repeat<Blocks, block<body<Channels, 1>>>;

/// A block that halves the picture, and one or two that keep it.
template <int Channels>
using two_blocks = ls::sequential<block<body<Channels, 2>, projection<Channels>>, block<body<Channels, 1>>>;
template <int Channels>
using three_blocks =
    ls::sequential<block<body<Channels, 2>, projection<Channels>>, block<body<Channels, 1>>, block<body<Channels, 1>>>;

}  // namespace models::residual_block
