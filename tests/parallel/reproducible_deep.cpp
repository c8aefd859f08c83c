// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include <array>

#include "parallel/reproducible.hpp"

namespace ls = lockstep;
using namespace lockstep_test;

namespace {

using deep_net =
    ls::sequential<ls::conv2d<16, 3, ls::padding<1>>, ls::relu, ls::conv2d<16, 3, ls::stride<2>, ls::padding<1>>,
                   ls::relu, ls::max_pool2d<2>, ls::conv2d<24, 3, ls::padding<1>>, ls::relu, ls::avg_pool2d<2>,
                   ls::flatten, ls::linear<32>, ls::relu, ls::linear<10>>;
using deep = ls::model<deep_net, ls::input<3, 24, 24>, ls::cross_entropy>;

}  // namespace

TEST_CASE("a deeper convolutional net trains to the same bits on 1, 2, 4 and 8 replicas", "[reproducible]") {
  check_replicas_agree<deep>({.learning_rate = 0.05F, .momentum = 0.9F, .weight_decay = 1e-4F}, 1.0,
                             std::array<std::int64_t, 4>{64, 64, 50, 7});
}
