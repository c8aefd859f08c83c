// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <lockstep/lockstep.hpp>

namespace models {

namespace autoencoder_parts {

namespace ls = lockstep;

template <int Code>
using encoder = ls::sequential<ls::conv2d<16, 3, ls::stride<2>, ls::padding<1>>, ls::relu,  // 16 x 14 x 14
                               ls::conv2d<32, 3, ls::stride<2>, ls::padding<1>>, ls::relu,  // 32 x 7 x 7
                               ls::conv2d<Code, 7>>;                                        // Code x 1 x 1

template <int Channels>
using doubled = ls::conv_transpose2d<Channels, 3, ls::stride<2>, ls::padding<1>, ls::output_padding<1>>;
using decoder = ls::sequential<ls::conv_transpose2d<32, 7>, ls::relu, doubled<16>, ls::relu, doubled<1>, ls::sigmoid>;

}  // namespace autoencoder_parts

/// A convolutional autoencoder for pictures of 1 x 28 x 28, whose pixels lie between 0 and 1: `Code` numbers stand for
/// a picture. Train it against its input with mean_squared_error.
template <int Code = 64>
using autoencoder = lockstep::sequential<lockstep::named<"encoder", autoencoder_parts::encoder<Code>>,
                                         lockstep::named<"decoder", autoencoder_parts::decoder>>;

}  // namespace models
