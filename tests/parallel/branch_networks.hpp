// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <lockstep/lockstep.hpp>

/// \file
/// Classifiers whose networks are no chains.

namespace lockstep_test {

template <int Channels>
using padded_conv = lockstep::conv2d<Channels, 3, lockstep::padding<1>>;

using residual_body = lockstep::sequential<padded_conv<4>, lockstep::relu, padded_conv<4>>;
using wider_body = lockstep::sequential<lockstep::conv2d<6, 3, lockstep::stride<2>, lockstep::padding<1>>,
                                        lockstep::relu, padded_conv<6>>;
using residual_net =
    lockstep::sequential<padded_conv<4>, lockstep::relu,
                         lockstep::repeat<2, lockstep::sequential<lockstep::residual<residual_body>, lockstep::relu>>,
                         lockstep::residual<wider_body, lockstep::conv2d<6, 1, lockstep::stride<2>>>, lockstep::relu,
                         lockstep::flatten, lockstep::linear<5>>;
using unet_net = lockstep::sequential<
    padded_conv<3>, lockstep::relu,
    lockstep::concat<lockstep::identity, lockstep::sequential<padded_conv<4>, lockstep::relu,
                                                              lockstep::concat<lockstep::identity, padded_conv<2>>,
                                                              padded_conv<3>, lockstep::relu>>,
    lockstep::flatten, lockstep::linear<5>>;
using shared_linear = lockstep::tied<"shared", lockstep::linear<12>>;
using tied_net =
    lockstep::sequential<lockstep::flatten, lockstep::linear<12>, lockstep::relu, shared_linear, lockstep::relu,
                         lockstep::residual<shared_linear>, shared_linear, lockstep::linear<5>>;

using residual_classifier = lockstep::model<residual_net, lockstep::input<2, 6, 6>, lockstep::cross_entropy>;
using unet_classifier = lockstep::model<unet_net, lockstep::input<2, 6, 6>, lockstep::cross_entropy>;
using tied_classifier = lockstep::model<tied_net, lockstep::input<2, 6, 6>, lockstep::cross_entropy>;

}  // namespace lockstep_test
