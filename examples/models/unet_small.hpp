// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <lockstep/lockstep.hpp>

namespace models {

namespace unet_small_parts {

namespace ls = lockstep;

/// A part that adds nothing to the paths of its layers.
template <class Part>
using unnamed = ls::named<"", Part>;

template <int Channels>
using conv3x3 = ls::conv2d<Channels, 3, ls::padding<1>, ls::no_bias>;

template <int Channels>
using double_conv =
    ls::sequential<ls::named<"conv1", conv3x3<Channels>>, ls::named<"norm1", ls::batch_norm2d<>>, ls::relu,
                   ls::named<"conv2", conv3x3<Channels>>, ls::named<"norm2", ls::batch_norm2d<>>, ls::relu>;

/// Doubles the picture.
template <int Channels>
using up = ls::conv_transpose2d<Channels, 2, ls::stride<2>>;

/// What arrives, beside what `Inner` makes of it.
template <class... Inner>
using around = unnamed<ls::concat<ls::identity, unnamed<ls::sequential<Inner...>>>>;

template <int Width>
using bottom =
    around<ls::max_pool2d<2>, ls::named<"bottleneck", double_conv<8 * Width>>, ls::named<"upconv3", up<4 * Width>>>;
template <int Width>
using middle = around<ls::max_pool2d<2>, ls::named<"encoder3", double_conv<4 * Width>>, bottom<Width>,
                      ls::named<"decoder3", double_conv<4 * Width>>, ls::named<"upconv2", up<2 * Width>>>;
template <int Width>
using top = around<ls::max_pool2d<2>, ls::named<"encoder2", double_conv<2 * Width>>, middle<Width>,
                   ls::named<"decoder2", double_conv<2 * Width>>, ls::named<"upconv1", up<Width>>>;

}  // namespace unet_small_parts

/// A U-Net of three levels for pictures of any number of channels whose extents are multiples of 8: one value for each
/// class and pixel. After Ronneberger et al., "U-Net: Convolutional Networks for Biomedical Image Segmentation" (2015),
/// with padded convolutions and batch normalisation. `Width` is the number of channels at full size.
template <int Classes = 2, int Width = 16>
using unet_small = lockstep::sequential<lockstep::named<"encoder1", unet_small_parts::double_conv<Width>>,
                                        unet_small_parts::top<Width>,
                                        lockstep::named<"decoder1", unet_small_parts::double_conv<Width>>,
                                        lockstep::named<"conv", lockstep::conv2d<Classes, 1>>>;

}  // namespace models
