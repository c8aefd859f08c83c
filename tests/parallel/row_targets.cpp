// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include <cstddef>
#include <cstdint>
#include <vector>

#include "parallel/reproducible.hpp"

/// \file
/// Outputs of several rows, each with a target of its own, against the same rows as so many samples, as PyTorch's users
/// flatten them for CrossEntropyLoss.

namespace ls = lockstep;
using namespace lockstep_test;

namespace {

using net = ls::sequential<ls::linear<12>, ls::layer_norm<>, ls::relu, ls::linear<5>>;
using rows = ls::model<net, ls::input<4, 6>, ls::cross_entropy>;
using single = ls::model<net, ls::input<6>, ls::cross_entropy>;
static_assert(rows::output_dims == ls::dims{4, 5});
static_assert(ls::cross_entropy::target_size(rows::output_dims) == 4);

constexpr std::int64_t samples = 5;
const ls::cross_entropy loss{.class_weights = {1, 0.5F, 2, 0.25F, 1.5F}, .label_smoothing = 0.125F, .ignore_index = -1};
constexpr ls::sgd optimizer{.learning_rate = 0.05F, .momentum = 0.9F};

/// Some are ignored, among them all of one sample.
std::vector<std::int64_t> targets() {
  auto all = class_draws(2, samples * 4, 5);
  for (const std::size_t i : {1U, 8U, 9U, 10U, 11U, 18U}) all[i] = -1;
  return all;
}

struct trained {
  std::vector<double> losses;
  std::vector<std::vector<double>> gradients, parameters;
  ls::evaluation evaluated;
};

template <class Model, int N, class B>
trained train() {
  using value = typename B::value_type;
  ls::data_parallel<Model, N, B> trainer(optimizer, loss, {.pin = false});
  trainer.initialize(ls::seed{4});
  for (const auto& parameter : trainer.parameters()) {
    const auto drawn = draws<float>(static_cast<std::uint64_t>(parameter.size()), parameter.size());
    parameter.assign(std::vector<value>(drawn.begin(), drawn.end()));
  }
  const auto drawn = draws<float>(1, samples * rows::input_dims.size());
  const std::vector<value> x(drawn.begin(), drawn.end());
  trained result;
  for (int step = 0; step < 3; ++step) {
    result.losses.push_back(trainer.step(batch<Model>(x), targets()));
    if (step == 0) result.gradients = as_doubles(trainer.gradients());
  }
  result.parameters = as_doubles(trainer.parameters());
  result.evaluated = trainer.evaluate(batch<Model>(x), targets());
  return result;
}

template <class B, int... N>
void check(double tolerance) {
  const trained expected = train<single, 1, ls::reference<double>>();
  const auto compare = [&]<int Count> {
    INFO(Count << " replicas");
    const trained given = train<rows, Count, B>();
    for (std::size_t i = 0; i < expected.losses.size(); ++i)
      CHECK(is_close(given.losses[i], expected.losses[i], {.relative = tolerance}));
    REQUIRE(given.gradients.size() == expected.gradients.size());
    for (std::size_t p = 0; p < expected.gradients.size(); ++p) {
      INFO("tensor " << p);
      CHECK(relative_difference(given.gradients[p], expected.gradients[p]) <= tolerance);
      CHECK(relative_difference(given.parameters[p], expected.parameters[p]) <= tolerance);
    }
    CHECK(given.evaluated.counted == 14);
    CHECK(given.evaluated.correct == expected.evaluated.correct);
    CHECK(is_close(given.evaluated.loss_sum, expected.evaluated.loss_sum, {.relative = tolerance}));
  };
  (compare.template operator()<N>(), ...);
}

}  // namespace

TEST_CASE("rows with targets of their own train as so many samples", "[row_targets]") {
  check<ls::reference<double>, 1, 2, 3, 4>(1e-12);
  check<ls::cpu, 1, 2, 3, 4>(1e-5);
}

TEST_CASE("targets of rows have their extents", "[row_targets]") {
  ls::data_parallel<rows, 2> trainer;
  const auto x = draws<float>(1, samples * rows::input_dims.size());
  ls::batch_of<std::int64_t, 4> fitting(samples);
  CHECK(trainer.step(batch<rows>(x), fitting) > 0);
  const ls::batch_of<std::int64_t, 5> too_long(4);
  CHECK_THROWS_AS(trainer.step(batch<rows>(x), too_long), ls::shape_error);
  CHECK_THROWS_AS(trainer.step(batch<rows>(x), std::vector<std::int64_t>(samples)), ls::shape_error);
  CHECK_THROWS_AS(trainer.step(batch<rows>(x), std::vector<std::int64_t>(samples * 4, 5)), ls::value_error);
}
