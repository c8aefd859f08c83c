// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include <lockstep/nn/activation.hpp>
#include <lockstep/nn/conv2d.hpp>
#include <lockstep/nn/flatten.hpp>
#include <lockstep/nn/linear.hpp>

#include "make_network.hpp"

namespace lockstep_train {

namespace ls = lockstep;

network cnn_network_idx() {
  using net = ls::sequential<ls::named<"conv1", ls::conv2d<64, 3, ls::padding<1>>>, ls::relu, ls::flatten,
                             ls::named<"fc", ls::linear<64 * 28 * 28, 10>>>;
  return make_network<ls::model<net, ls::input<1, 28, 28>, ls::cross_entropy>>();
}

}  // namespace lockstep_train
