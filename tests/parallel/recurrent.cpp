// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include <cstdint>

#include <lockstep/nn/gru.hpp>
#include <lockstep/nn/lstm.hpp>

#include "parallel/short_runs.hpp"

/// \file
/// Recurrent layers, and dropout between them, on any number of replicas against one device.

namespace recurrent_test {

namespace ls = lockstep;
using namespace lockstep_test;

// 19 units: vectors, and units after them.
using net = ls::model<ls::sequential<ls::lstm<19, ls::layers<2>, ls::bidirectional, ls::dropout<0.3>>,
                                     ls::gru<8, ls::last_state>, ls::linear<3>>,
                      ls::input<5, 3>, ls::cross_entropy>;

constexpr ls::sgd optimizer{.learning_rate = 0.1F, .momentum = 0.9F};

// Shards of other sizes, and, with four replicas, of one sample.
template <class B, int... N>
void check_replicas(double tolerance) {
  short_runs::check_replicas<net, B, N...>(optimizer, {5, 5, 5}, tolerance);
}

constexpr std::int64_t batches[] = {5, 21, 5};

TEST_CASE("recurrent layers on replicas compute what they do on one device", "[recurrent]") {
  SECTION("on the CPU") { check_replicas<ls::cpu, 1, 2, 3, 4>(1e-5); }
  SECTION("in double precision") { check_replicas<ls::reference<double>, 3>(1e-12); }
  SECTION("shards of several micro-shards") { check_replicas<short_runs::small_passes, 2>(1e-5); }
}

TEST_CASE("recurrent layers train to the same bits on 1, 2, 4 and 8 replicas", "[recurrent]") {
  check_replicas_agree<net>({.learning_rate = 0.05F, .momentum = 0.9F}, 1.0, batches);
}

}  // namespace recurrent_test
