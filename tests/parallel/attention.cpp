// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <vector>

#include <lockstep/nn/causal_self_attention.hpp>
#include <lockstep/nn/transformer_encoder_layer.hpp>
#include <lockstep/nn/transposed_linear.hpp>

#include "parallel/reproducible.hpp"

/// \file
/// Attention on any number of replicas against one device, with probabilities that dropout takes away.

namespace attention_on_replicas {

namespace ls = lockstep;
using namespace lockstep_test;

using net = ls::sequential<ls::linear<8>, ls::transformer_encoder_layer<8, 2, 12, ls::dropout<0.25>>,
                           ls::residual<ls::causal_self_attention<4, ls::dropout<0.5>>>, ls::transposed_linear<5>,
                           ls::flatten, ls::linear<3>>;
using classifier = ls::model<net, ls::input<7, 4>, ls::cross_entropy>;

/// Cuts every shard into micro-shards of two samples.
struct small_passes : ls::cpu {
  static constexpr std::int64_t largest_pass = 2;
};

struct trained {
  std::vector<double> losses;
  std::vector<std::vector<double>> gradients, parameters;
};

/// Steps of seven, five and one sample: shards of other sizes, and without a sample.
template <int N, class B>
trained train() {
  ls::data_parallel<classifier, N, B> trainer(ls::sgd{.learning_rate = 0.02F}, {}, {.pin = false});
  start_alike(trainer);
  using value = typename decltype(trainer)::value_type;
  trained result;
  std::uint64_t stream = 10;
  for (const std::int64_t samples : {7, 5, 1}) {
    const auto drawn = draws<float>(stream++, samples * classifier::input_dims.size());
    const std::vector<value> x(drawn.begin(), drawn.end());
    result.losses.push_back(trainer.step(batch<classifier>(x), class_draws(stream++, samples, 3)));
    if (result.gradients.empty()) result.gradients = as_doubles(trainer.gradients());
  }
  result.parameters = as_doubles(trainer.parameters());
  return result;
}

template <class B, int... N>
void check_replicas(double tolerance) {
  const trained expected = train<1, ls::reference<double>>();
  double largest = 0;
  for (const auto& each : expected.gradients) largest = std::max(largest, largest_magnitude(each));
  const auto check = [&]<int Count> {
    INFO(Count << " replicas");
    const trained given = train<Count, B>();
    CHECK(relative_difference(given.losses, expected.losses) <= tolerance);
    REQUIRE(given.gradients.size() == expected.gradients.size());
    for (std::size_t p = 0; p < expected.gradients.size(); ++p) {
      INFO("tensor " << p);
      // The gradient of a key's bias is a sum that is 0.
      CHECK(largest_difference(given.gradients[p], expected.gradients[p]) <= tolerance * largest);
      CHECK(largest_difference(given.parameters[p], expected.parameters[p]) <=
            tolerance * std::max(1e-2, largest_magnitude(expected.parameters[p])));
    }
  };
  (check.template operator()<N>(), ...);
}

}  // namespace attention_on_replicas

TEST_CASE("attention on replicas is that of one device", "[attention]") {
  using namespace attention_on_replicas;
  SECTION("in float") { check_replicas<ls::cpu, 1, 2, 3, 4>(1e-5); }
  SECTION("in double precision") { check_replicas<ls::reference<double>, 2>(1e-12); }
  SECTION("shards of several micro-shards") { check_replicas<small_passes, 2>(1e-5); }
}

TEST_CASE("attention trains to the same bits on 1, 2, 4 and 8 replicas", "[attention]") {
  using namespace attention_on_replicas;
  constexpr std::int64_t batches[] = {5, 61};
  check_replicas_agree<classifier>({.learning_rate = 0.05F, .momentum = 0.9F}, 1.0, batches);
}
