// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include <lockstep/nn/activation.hpp>
#include <lockstep/nn/linear.hpp>

#include "make_network.hpp"

namespace lockstep_train {

namespace ls = lockstep;

// Takes a picture's values as they lie in memory, so that parameters are 0.weight, 2.weight, 4.weight, as in PyTorch.
network mlp_network_cifar10() {
  constexpr int pixels = 3 * 32 * 32;
  using net = ls::sequential<ls::linear<pixels, 512>, ls::relu, ls::linear<512, 256>, ls::relu, ls::linear<256, 10>>;
  return make_network<ls::model<net, ls::input<pixels>, ls::cross_entropy>>();
}

}  // namespace lockstep_train
