// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <lockstep/lockstep.hpp>

namespace models {

namespace vgg8_parts {

namespace ls = lockstep;

template <int Channels>
using conv3x3 = ls::conv2d<Channels, 3, ls::padding<1>>;

template <int Channels>
using two_convolutions = ls::sequential<conv3x3<Channels>, ls::relu, conv3x3<Channels>, ls::relu, ls::max_pool2d<2>>;

}  // namespace vgg8_parts

/// Eight layers with weights for pictures of 3 x 32 x 32, in the manner of Simonyan and Zisserman, "Very Deep
/// Convolutional Networks for Large-Scale Image Recognition" (2015): six convolutions, each two followed by a pooling,
/// and two linear layers.
template <int Classes>
using vgg8 = lockstep::sequential<lockstep::named<"block1", vgg8_parts::two_convolutions<64>>,
                                  lockstep::named<"block2", vgg8_parts::two_convolutions<128>>,
                                  lockstep::named<"block3", vgg8_parts::two_convolutions<256>>, lockstep::flatten,
                                  lockstep::named<"fc1", lockstep::linear<256 * 4 * 4, 256>>, lockstep::relu,
                                  lockstep::named<"fc2", lockstep::linear<256, Classes>>>;

}  // namespace models
