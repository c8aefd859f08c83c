// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include <cstdint>

#include <lockstep/nn/causal_self_attention.hpp>
#include <lockstep/nn/transformer_encoder_layer.hpp>
#include <lockstep/nn/transposed_linear.hpp>

#include "parallel/short_runs.hpp"

/// \file
/// Attention on any number of replicas against one device, with probabilities that dropout takes away.

namespace attention_on_replicas {

namespace ls = lockstep;
using namespace lockstep_test;

using net = ls::sequential<ls::linear<8>, ls::transformer_encoder_layer<8, 2, 12, ls::dropout<0.25>>,
                           ls::residual<ls::causal_self_attention<4, ls::dropout<0.5>>>, ls::transposed_linear<5>,
                           ls::flatten, ls::linear<3>>;
using classifier = ls::model<net, ls::input<7, 4>, ls::cross_entropy>;

// Shards of other sizes, and without a sample. The gradient of a key's bias is a sum that is 0.
template <class B, int... N>
void check_replicas(double tolerance) {
  short_runs::check_replicas<classifier, B, N...>({.learning_rate = 0.02F}, {7, 5, 1}, tolerance,
                                                  gradients_compared::by_largest);
}

}  // namespace attention_on_replicas

TEST_CASE("attention on replicas is that of one device", "[attention]") {
  using namespace attention_on_replicas;
  SECTION("in float") { check_replicas<ls::cpu, 1, 2, 3, 4>(1e-5); }
  SECTION("in double precision") { check_replicas<ls::reference<double>, 2>(1e-12); }
  SECTION("shards of several micro-shards") { check_replicas<short_runs::small_passes, 2>(1e-5); }
}

TEST_CASE("attention trains to the same bits on 1, 2, 4 and 8 replicas", "[attention]") {
  using namespace attention_on_replicas;
  constexpr std::int64_t batches[] = {5, 61};
  check_replicas_agree<classifier>({.learning_rate = 0.05F, .momentum = 0.9F}, 1.0, batches);
}
