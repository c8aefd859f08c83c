// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <vector>

#include <lockstep/nn/gru.hpp>
#include <lockstep/nn/lstm.hpp>

#include "parallel/reproducible.hpp"

/// \file
/// Recurrent layers, and dropout between them, on any number of replicas against one device.

namespace recurrent_test {

namespace ls = lockstep;
using namespace lockstep_test;

// 19 units: vectors, and units after them.
using net = ls::model<ls::sequential<ls::lstm<19, ls::layers<2>, ls::bidirectional, ls::dropout<0.3>>,
                                     ls::gru<8, ls::last_state>, ls::linear<3>>,
                      ls::input<5, 3>, ls::cross_entropy>;

/// Cuts every shard into micro-shards of two samples.
struct small_passes : ls::cpu {
  static constexpr std::int64_t largest_pass = 2;
};

struct trained {
  std::vector<double> losses;
  std::vector<std::vector<double>> gradients, parameters;
};

/// Three steps of five samples: shards of other sizes, and, with four replicas, of one sample.
template <class Model, class Trainer>
trained train(Trainer& trainer) {
  using value = typename Trainer::value_type;
  start_alike(trainer);
  trained result;
  std::uint64_t stream = 10;
  for (int step = 0; step < 3; ++step) {
    const auto drawn = draws<float>(stream++, 5 * Model::input_dims.size());
    const std::vector<value> x(drawn.begin(), drawn.end());
    result.losses.push_back(trainer.step(batch<Model>(x), class_draws(stream++, 5, 3)));
    if (step == 0) result.gradients = as_doubles(trainer.gradients());
  }
  result.parameters = as_doubles(trainer.parameters());
  return result;
}

constexpr ls::sgd optimizer{.learning_rate = 0.1F, .momentum = 0.9F};

void check_equal(const trained& given, const trained& expected, double tolerance) {
  for (std::size_t i = 0; i < expected.losses.size(); ++i)
    CHECK(is_close(given.losses[i], expected.losses[i], {.relative = tolerance}));
  REQUIRE(given.gradients.size() == expected.gradients.size());
  for (std::size_t p = 0; p < expected.gradients.size(); ++p) {
    INFO("tensor " << p);
    CHECK(relative_difference(given.gradients[p], expected.gradients[p]) <= tolerance);
    CHECK(largest_difference(given.parameters[p], expected.parameters[p]) <=
          tolerance * std::max(1e-2, largest_magnitude(expected.parameters[p])));
  }
}

template <class B, int... N>
void check_replicas(double tolerance) {
  ls::data_parallel<net, 1, ls::reference<double>> one(optimizer);
  const trained expected = train<net>(one);
  const auto check = [&]<int Count> {
    INFO(Count << " replicas");
    ls::data_parallel<net, Count, B> trainer(optimizer, {}, {.pin = false});
    check_equal(train<net>(trainer), expected, tolerance);
  };
  (check.template operator()<N>(), ...);
}

constexpr std::int64_t batches[] = {5, 21, 5};

TEST_CASE("recurrent layers on replicas compute what they do on one device", "[recurrent]") {
  SECTION("on the CPU") { check_replicas<ls::cpu, 1, 2, 3, 4>(1e-5); }
  SECTION("in double precision") { check_replicas<ls::reference<double>, 3>(1e-12); }
  SECTION("shards of several micro-shards") { check_replicas<small_passes, 2>(1e-5); }
}

TEST_CASE("recurrent layers train to the same bits on 1, 2, 4 and 8 replicas", "[recurrent]") {
  check_replicas_agree<net>({.learning_rate = 0.05F, .momentum = 0.9F}, 1.0, batches);
}

}  // namespace recurrent_test
