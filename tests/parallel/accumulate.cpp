// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include <algorithm>
#include <cmath>
#include <limits>
#include <span>
#include <vector>

#include "parallel/parallel_support.hpp"

namespace ls = lockstep;
using namespace lockstep_test;

namespace {

using net = ls::sequential<ls::linear<12>, ls::relu, ls::linear<5>>;
using classifier = ls::model<net, ls::input<8>, ls::cross_entropy>;
using exact = ls::reference<double>;

struct piece {
  std::vector<double> x;
  std::vector<std::int64_t> targets;
};

piece cut(const std::vector<double>& x, const std::vector<std::int64_t>& targets, std::ptrdiff_t first,
          std::ptrdiff_t count) {
  return {{x.begin() + first * 8, x.begin() + (first + count) * 8},
          {targets.begin() + first, targets.begin() + first + count}};
}

double norm_of(const std::vector<std::vector<double>>& gradients) {
  double squares = 0;
  for (const auto& each : gradients)
    for (const double g : each) squares += g * g;
  return std::sqrt(squares);
}

template <int N>
void check_accumulation() {
  const auto x = draws<double>(1, 24 * 8);
  const auto targets = class_draws(2, 24, 5);
  ls::data_parallel<classifier, N, exact> whole({.learning_rate = 0.5F});
  const double loss = whole.step(batch<classifier>(x), targets);

  ls::data_parallel<classifier, N, exact> parts({.learning_rate = 0.5F});
  const piece a = cut(x, targets, 0, 7), b = cut(x, targets, 7, 16), c = cut(x, targets, 23, 1);
  double sum = parts.accumulate(batch<classifier>(a.x), a.targets, 24.0);
  sum += parts.accumulate(batch<classifier>(b.x), b.targets, 24.0);
  CHECK(parts.steps() == 0);
  sum += parts.step(batch<classifier>(c.x), c.targets, 24.0);
  CHECK(sum == Approx(loss).epsilon(1e-12));
  CHECK(parts.steps() == 1);
  check_close(all_values(parts.gradients()), all_values(whole.gradients()));
  check_close(all_values(parts.parameters()), all_values(whole.parameters()));

  // What was accumulated is used up: the next steps agree too.
  static_cast<void>(parts.step(batch<classifier>(x), targets));
  static_cast<void>(whole.step(batch<classifier>(x), targets));
  check_close(all_values(parts.parameters()), all_values(whole.parameters()));
}

}  // namespace

TEST_CASE("batches accumulated under one denominator are one batch", "[data_parallel][accumulate]") {
  check_accumulation<1>();
  check_accumulation<2>();
  check_accumulation<3>();
}

TEST_CASE("without a denominator every batch counts as a mean of its own, as in PyTorch", "[accumulate]") {
  const auto x = draws<double>(3, 12 * 8);
  const auto targets = class_draws(4, 12, 5);
  const piece a = cut(x, targets, 0, 4), b = cut(x, targets, 4, 8);
  ls::data_parallel<classifier, 2, exact> trainer({.learning_rate = 0.F});
  static_cast<void>(trainer.step(batch<classifier>(a.x), a.targets));
  const auto first = all_values(trainer.gradients());
  static_cast<void>(trainer.step(batch<classifier>(b.x), b.targets));
  auto expected = all_values(trainer.gradients());
  for (std::size_t p = 0; p < first.size(); ++p)
    for (std::size_t i = 0; i < first[p].size(); ++i) expected[p][i] += first[p][i];
  static_cast<void>(trainer.accumulate(batch<classifier>(a.x), a.targets));
  static_cast<void>(trainer.step(batch<classifier>(b.x), b.targets));
  check_close(all_values(trainer.gradients()), expected);
}

TEST_CASE("a fresh start forgets what was accumulated, and a bad denominator is refused", "[accumulate]") {
  const auto x = draws<double>(5, 6 * 8);
  const auto targets = class_draws(6, 6, 5);
  ls::data_parallel<classifier, 2, exact> trainer;
  static_cast<void>(trainer.accumulate(batch<classifier>(x), targets));
  trainer.initialize(ls::seed{0});
  static_cast<void>(trainer.step(batch<classifier>(x), targets));
  ls::data_parallel<classifier, 2, exact> fresh;
  static_cast<void>(fresh.step(batch<classifier>(x), targets));
  CHECK(all_values(trainer.parameters()) == all_values(fresh.parameters()));
  for (const double bad : {0.0, -1.0, std::numeric_limits<double>::quiet_NaN()}) {
    CHECK_THROWS_AS(trainer.step(batch<classifier>(x), targets, bad), ls::value_error);
    CHECK_THROWS_AS(trainer.accumulate(batch<classifier>(x), targets, bad), ls::value_error);
  }
  CHECK(trainer.steps() == 1);
}

TEST_CASE("gradients are clipped by their norm over all parameters", "[data_parallel][clip]") {
  const auto x = draws<double>(7, 10 * 8);
  const auto targets = class_draws(8, 10, 5);
  ls::data_parallel<classifier, 2, exact> plain({.learning_rate = 1.F});
  const auto before = all_values(plain.parameters());
  static_cast<void>(plain.step(batch<classifier>(x), targets));
  const auto gradients = all_values(plain.gradients());
  const double norm = norm_of(gradients);
  CHECK(std::isnan(plain.gradient_norm()));

  for (const double limit : {0.5 * norm, 2 * norm}) {
    ls::data_parallel<classifier, 3, exact> clipped({.learning_rate = 1.F}, {}, {.max_norm = limit});
    static_cast<void>(clipped.step(batch<classifier>(x), targets));
    CHECK(clipped.gradient_norm() == Approx(norm).epsilon(1e-12));
    check_close(all_values(clipped.gradients()), gradients);
    const double factor = std::min(1.0, limit / (norm + 1e-6));  // torch.nn.utils.clip_grad_norm_
    auto expected = before;
    for (std::size_t p = 0; p < expected.size(); ++p)
      for (std::size_t i = 0; i < expected[p].size(); ++i) expected[p][i] -= factor * gradients[p][i];
    check_close(all_values(clipped.parameters()), expected);
  }
  using trainer = ls::data_parallel<classifier, 2, exact>;
  CHECK_THROWS_AS(trainer({}, {}, {.max_norm = 0}), ls::value_error);
  CHECK_THROWS_AS(trainer({}, {}, {.max_norm = std::numeric_limits<double>::quiet_NaN()}), ls::value_error);
}
