// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include <array>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <string>
#include <vector>

#include "parallel/parallel_support.hpp"

namespace ls = lockstep;
using namespace lockstep_test;

namespace {

using net = ls::sequential<ls::named<"body", ls::linear<12>>, ls::relu, ls::named<"head", ls::linear<5>>>;
using classifier = ls::model<net, ls::input<8>, ls::cross_entropy>;

/// A batch of 9 samples of which `sample` holds `value`.
std::vector<float> spoilt(std::size_t sample, float value) {
  auto x = draws<float>(1, 9 * 8);
  x[sample * 8 + 2] = value;
  return x;
}

constexpr float no_number = std::numeric_limits<float>::quiet_NaN();
constexpr float infinity = std::numeric_limits<float>::infinity();

}  // namespace

TEMPLATE_TEST_CASE("a NaN or an infinity stops the step and is named", "[data_parallel][non_finite]",
                   ls::reduce::automatic, ls::reduce::reproducible) {
  const auto targets = class_draws(2, 9, 5);
  const auto good = draws<float>(3, 9 * 8);
  std::vector<ls::non_finite_report> seen;
  ls::data_parallel<classifier, 2, TestType> trainer(
      {.learning_rate = 0.1F, .momentum = 0.9F}, {},
      {.non_finite = ls::non_finite::stop, .on_non_finite = [&](const auto& report) { seen.push_back(report); }});
  static_cast<void>(trainer.step(batch<classifier>(good), targets));
  CHECK(std::isfinite(trainer.gradient_norm()));
  const auto before = all_values(trainer.parameters());

  try {
    static_cast<void>(trainer.step(batch<classifier>(spoilt(7, no_number)), targets));
    FAIL("no exception");
  } catch (const ls::non_finite_error& e) {
    CHECK(e.report().replica == 1);  // samples 5 to 8
    CHECK(e.report().step == 1);
    CHECK(e.report().parameter == "head.bias");
    CHECK(std::string(e.what()).find("head.bias on replica 1 in step 1") != std::string::npos);
  }
  CHECK_THROWS_AS(trainer.step(batch<classifier>(spoilt(0, infinity)), targets), ls::non_finite_error);
  REQUIRE(seen.size() == 2);
  CHECK(seen[1].replica == 0);
  CHECK(all_values(trainer.parameters()) == before);
  CHECK(trainer.steps() == 1);

  // As if nothing had been: the next good step is the second one.
  static_cast<void>(trainer.step(batch<classifier>(good), targets));
  ls::data_parallel<classifier, 2, TestType> calm({.learning_rate = 0.1F, .momentum = 0.9F});
  static_cast<void>(calm.step(batch<classifier>(good), targets));
  static_cast<void>(calm.step(batch<classifier>(good), targets));
  CHECK(all_values(trainer.parameters()) == all_values(calm.parameters()));
}

TEST_CASE("a step with a NaN may be skipped, or taken", "[data_parallel][non_finite]") {
  const auto targets = class_draws(2, 9, 5);
  int calls = 0;
  ls::data_parallel<classifier, 3> skipping(
      {.learning_rate = 0.1F}, {},
      {.non_finite = ls::non_finite::skip, .on_non_finite = [&](const auto&) { ++calls; }});
  const auto before = all_values(skipping.parameters());
  CHECK(std::isnan(skipping.step(batch<classifier>(spoilt(4, no_number)), targets)));
  CHECK(calls == 1);
  CHECK(skipping.steps() == 0);
  CHECK(all_values(skipping.parameters()) == before);

  ls::data_parallel<classifier, 3> taking({.learning_rate = 0.1F});
  static_cast<void>(taking.step(batch<classifier>(spoilt(4, no_number)), targets));
  CHECK(std::isnan(all_values(taking.parameters())[0][2]));
  CHECK(taking.steps() == 1);

  // With a norm to clip to as well, which is no number then.
  ls::data_parallel<classifier, 3> clipping({.learning_rate = 0.1F}, {}, {.max_norm = 1});
  static_cast<void>(clipping.step(batch<classifier>(spoilt(4, no_number)), targets));
  CHECK(std::isnan(clipping.gradient_norm()));
  CHECK(std::isnan(all_values(clipping.parameters())[0][2]));
  CHECK(clipping.steps() == 1);
}

TEST_CASE("a sum over replicas that overflows is told from a replica that does", "[data_parallel][non_finite]") {
  using regression = ls::model<ls::sequential<ls::linear<1>>, ls::input<1>, ls::mean_squared_error>;
  ls::data_parallel<regression, 2> trainer({}, {}, {.non_finite = ls::non_finite::stop});
  // Gradients of 2 (w x + b - t) x / 2 for each of the two samples, just below the largest float.
  const std::vector<float> x{1.F, 1.F};
  const std::vector<float> targets{-3e38F, -3e38F};
  try {
    static_cast<void>(trainer.step(batch<regression>(x), targets));
    FAIL("no exception");
  } catch (const ls::non_finite_error& e) {
    CHECK(e.report().replica == -1);
    CHECK(std::string(e.what()).find("once summed") != std::string::npos);
  }
}

TEST_CASE("any one element that is not finite is found, wherever it stands", "[data_parallel][non_finite]") {
  using backend = ls::cpu;
  constexpr auto count = static_cast<std::size_t>(classifier::parameter_count);
  backend::context context;
  const std::array<backend::context*, 2> contexts{&context, &context};
  std::array<std::vector<float>, 2> gradients{std::vector<float>(count, 1.F), std::vector<float>(count, 1.F)};
  std::vector<float> sums(count, 2.F);
  const auto find = [&] {
    return ls::detail::find_non_finite<classifier, backend, 2>(contexts, 7, {gradients[0].data(), gradients[1].data()},
                                                               sums.data());
  };
  CHECK(find().parameter.empty());
  for (const auto& parameter : classifier::plan<backend>.parameters) {
    const auto first = static_cast<std::size_t>(parameter.offset);
    for (std::size_t i = first; i < first + static_cast<std::size_t>(parameter.shape.size()); ++i) {
      INFO("element " << i << " of " << count);
      const float bad = i % 2 == 0 ? no_number : -infinity;
      for (int replica = -1; replica < 2; ++replica) {
        sums[i] = bad;
        if (replica >= 0) gradients[static_cast<std::size_t>(replica)][i] = bad;
        const auto report = find();
        CHECK(report.parameter == classifier::parameter_name<backend>(parameter));
        CHECK(report.replica == replica);
        CHECK(report.step == 7);
        sums[i] = 2.F;
        for (auto& own : gradients) own[i] = 1.F;
      }
    }
  }
}
