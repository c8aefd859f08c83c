// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <lockstep/nn/activation.hpp>
#include <lockstep/nn/conv2d.hpp>
#include <lockstep/nn/flatten.hpp>
#include <lockstep/nn/linear.hpp>

#include "make_network.hpp"
#include "networks.hpp"

/// \file
/// The networks themselves, for any backend.

namespace lockstep_train {

using linear_model = lockstep::model<lockstep::linear<10, 10>, lockstep::input<10>, lockstep::mean_squared_error>;

template <int Channels, int Side>
using cnn_model = lockstep::model<
    lockstep::sequential<lockstep::named<"conv1", lockstep::conv2d<64, 3, lockstep::padding<1>>>, lockstep::relu,
                         lockstep::flatten, lockstep::named<"fc", lockstep::linear<64 * Side * Side, 10>>>,
    lockstep::input<Channels, Side, Side>, lockstep::cross_entropy>;

/// Takes a picture's values as they lie in memory, so that parameters are 0.weight, 2.weight, 4.weight, as in PyTorch.
template <int Pixels>
using mlp_model =
    lockstep::model<lockstep::sequential<lockstep::linear<Pixels, 512>, lockstep::relu, lockstep::linear<512, 256>,
                                         lockstep::relu, lockstep::linear<256, 10>>,
                    lockstep::input<Pixels>, lockstep::cross_entropy>;

template <class Backend>
network linear_network() {
  return make_network<linear_model, Backend>();
}
template <class Backend>
network cnn_network_cifar10() {
  return make_network<cnn_model<3, 32>, Backend>();
}
template <class Backend>
network cnn_network_idx() {
  return make_network<cnn_model<1, 28>, Backend>();
}
template <class Backend>
network mlp_network_cifar10() {
  return make_network<mlp_model<3 * 32 * 32>, Backend>();
}
template <class Backend>
network mlp_network_idx() {
  return make_network<mlp_model<1 * 28 * 28>, Backend>();
}

}  // namespace lockstep_train
