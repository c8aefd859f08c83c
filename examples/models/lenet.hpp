// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <lockstep/lockstep.hpp>

namespace models {

/// LeNet-5 for pictures of 1 x 28 x 28, with relu and max pooling; after LeCun et al., "Gradient-Based Learning Applied
/// to Document Recognition" (1998).
using lenet =
    lockstep::sequential<lockstep::named<"conv1", lockstep::conv2d<6, 5>>, lockstep::relu, lockstep::max_pool2d<2>,
                         lockstep::named<"conv2", lockstep::conv2d<16, 5>>, lockstep::relu, lockstep::max_pool2d<2>,
                         lockstep::flatten, lockstep::named<"fc1", lockstep::linear<256, 120>>, lockstep::relu,
                         lockstep::named<"fc2", lockstep::linear<120, 84>>, lockstep::relu,
                         lockstep::named<"fc3", lockstep::linear<84, 10>>>;

}  // namespace models
