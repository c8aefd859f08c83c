// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <lockstep/cuda.hpp>

#include "../reference_models.hpp"

namespace lockstep_bench {

template <int Out>
using convolution_layer = lockstep::sequential<lockstep::conv2d<Out, 3, lockstep::padding<1>>, lockstep::relu>;

using four_convolutions =
    lockstep::sequential<convolution_layer<64>, convolution_layer<64>, convolution_layer<64>, convolution_layer<64>>;

/// A dozen convolutions, 64 wide, on 32x32, 16x16 and 8x8.
using deep = lockstep::model<
    lockstep::sequential<four_convolutions, lockstep::max_pool2d<2>, four_convolutions, lockstep::max_pool2d<2>,
                         four_convolutions, lockstep::avg_pool2d<8>, lockstep::flatten, lockstep::linear<64, 10>>,
    lockstep::input<3, 32, 32>, lockstep::cross_entropy>;

}  // namespace lockstep_bench
