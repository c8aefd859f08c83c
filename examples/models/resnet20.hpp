// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <lockstep/lockstep.hpp>

#include "residual_block.hpp"

namespace models {

/// The residual network of 20 layers for pictures of 3 x 32 x 32, as in He et al. (2015), section 4.2, with projections
/// where the picture shrinks (option B). Parameters are named as in torchvision's ResNet.
template <int Classes>
using resnet20 =
    lockstep::sequential<lockstep::named<"conv1", residual_block::conv3x3<16, 1>>,
                         lockstep::named<"bn1", lockstep::batch_norm2d<>>, lockstep::relu,
                         lockstep::named<"layer1", residual_block::stage<16, 3>>,
                         lockstep::named<"layer2", residual_block::three_blocks<32>>,
                         lockstep::named<"layer3", residual_block::three_blocks<64>>, lockstep::avg_pool2d<8>,
                         lockstep::flatten, lockstep::named<"fc", lockstep::linear<64, Classes>>>;

}  // namespace models
