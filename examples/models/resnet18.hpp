// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <lockstep/lockstep.hpp>

#include "residual_block.hpp"

namespace models {

/// torchvision.models.resnet18 for pictures of 3 x 224 x 224: the same layers and names.
template <int Classes>
using resnet18 = lockstep::sequential<
    lockstep::named<"conv1", lockstep::conv2d<64, 7, lockstep::stride<2>, lockstep::padding<3>, lockstep::no_bias>>,
    lockstep::named<"bn1", lockstep::batch_norm2d<>>, lockstep::relu,
    lockstep::max_pool2d<3, lockstep::stride<2>, lockstep::padding<1>>,
    lockstep::named<"layer1", residual_block::stage<64, 2>>, lockstep::named<"layer2", residual_block::two_blocks<128>>,
    lockstep::named<"layer3", residual_block::two_blocks<256>>,
    lockstep::named<"layer4", residual_block::two_blocks<512>>, lockstep::avg_pool2d<7>, lockstep::flatten,
    lockstep::named<"fc", lockstep::linear<512, Classes>>>;

}  // namespace models
