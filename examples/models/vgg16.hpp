// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <lockstep/lockstep.hpp>

namespace models {

namespace vgg16_parts {

namespace ls = lockstep;

template <int Channels>
using conv3x3 = ls::conv2d<Channels, 3, ls::padding<1>>;

// One list, since torchvision counts all layers of the features.
using features =
    ls::sequential<conv3x3<64>, ls::relu, conv3x3<64>, ls::relu, ls::max_pool2d<2>,                            //
                   conv3x3<128>, ls::relu, conv3x3<128>, ls::relu, ls::max_pool2d<2>,                          //
                   conv3x3<256>, ls::relu, conv3x3<256>, ls::relu, conv3x3<256>, ls::relu, ls::max_pool2d<2>,  //
                   conv3x3<512>, ls::relu, conv3x3<512>, ls::relu, conv3x3<512>, ls::relu, ls::max_pool2d<2>,  //
                   conv3x3<512>, ls::relu, conv3x3<512>, ls::relu, conv3x3<512>, ls::relu, ls::max_pool2d<2>>;

template <int Classes>
using classifier = ls::sequential<ls::linear<512 * 7 * 7, 4096>, ls::relu, ls::dropout<0.5>, ls::linear<4096, 4096>,
                                  ls::relu, ls::dropout<0.5>, ls::linear<4096, Classes>>;

}  // namespace vgg16_parts

/// torchvision.models.vgg16 for pictures of 3 x 224 x 224: the same layers and names. Simonyan and Zisserman, "Very
/// Deep Convolutional Networks for Large-Scale Image Recognition" (2015), configuration D.
template <int Classes>
using vgg16 = lockstep::sequential<lockstep::named<"features", vgg16_parts::features>, lockstep::flatten,
                                   lockstep::named<"classifier", vgg16_parts::classifier<Classes>>>;

}  // namespace models
