// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include <algorithm>
#include <array>

#include "parallel/reproducible.hpp"

namespace ls = lockstep;
using namespace lockstep_test;

namespace {

using mlp_net = ls::sequential<ls::linear<96>, ls::relu, ls::dropout<0.25>, ls::linear<40>, ls::relu, ls::dropout<>,
                               ls::linear<10>>;
using mlp = ls::model<mlp_net, ls::input<130>, ls::cross_entropy>;

}  // namespace

TEST_CASE("an mlp with dropout, momentum and clipping trains to the same bits on 1, 2, 4 and 8 replicas",
          "[reproducible]") {
  // 3000 samples are more than a micro-shard takes in one piece; 5 leave some without any.
  const std::array<std::int64_t, 6> batches{64, 64, 100, 5, 3000, 1};
  check_replicas_agree<mlp>({.learning_rate = 0.1F, .momentum = 0.9F}, 0.5, batches);
  const auto clipped = train_reproducibly<mlp, 2>({.learning_rate = 0.1F, .momentum = 0.9F}, 0.5, batches);
  CHECK(*std::max_element(clipped.norms.begin(), clipped.norms.end()) > 0.5);  // else nothing was clipped
}

TEST_CASE("more micro-shards than eight work alike", "[reproducible]") {
  const std::array<std::int64_t, 3> batches{64, 37, 64};
  const ls::sgd optimizer{.learning_rate = 0.1F};
  const auto one = train_reproducibly<mlp, 1, ls::micro_shards<16>>(optimizer, 10.0, batches);
  check_same_bits(train_reproducibly<mlp, 4, ls::micro_shards<16>>(optimizer, 10.0, batches), one);
}
