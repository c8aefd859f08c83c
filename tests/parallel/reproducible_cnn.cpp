// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include <array>
#include <limits>

#include "parallel/reproducible.hpp"

namespace ls = lockstep;
using namespace lockstep_test;

namespace {

constexpr double unlimited = std::numeric_limits<double>::infinity();

using cnn_net = ls::sequential<ls::named<"conv1", ls::conv2d<64, 3, ls::padding<1>>>, ls::relu, ls::flatten,
                               ls::named<"fc", ls::linear<64 * 32 * 32, 10>>>;
using cnn = ls::model<cnn_net, ls::input<3, 32, 32>, ls::cross_entropy>;

}  // namespace

TEST_CASE("the cnn trains to the same bits on 1, 2, 4 and 8 replicas", "[reproducible]") {
  check_replicas_agree<cnn>({.learning_rate = 0.01F}, unlimited, std::array<std::int64_t, 4>{64, 64, 63, 3});
}
