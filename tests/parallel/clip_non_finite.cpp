// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include <cmath>
#include <limits>
#include <vector>

#include <lockstep/backend/reference/reference.hpp>

#include "parallel/parallel_support.hpp"

namespace ls = lockstep;
using namespace lockstep_test;

namespace {

using model = ls::model<ls::sequential<ls::named<"a", ls::linear<1, 3>>>, ls::input<1>, ls::mean_squared_error>;

constexpr double nan = std::numeric_limits<double>::quiet_NaN();
constexpr double infinity = std::numeric_limits<double>::infinity();

/// The weights (all 0 at first) after one step of two equal samples with these targets, clipped to the norm 0.5.
template <int N, class... Policies>
std::vector<double> clipped_step(const std::vector<double>& targets, ls::non_finite what) {
  using trainer_type = ls::data_parallel<model, N, Policies...>;
  using value = typename trainer_type::value_type;
  trainer_type trainer({.learning_rate = 1.F}, {}, {.max_norm = 0.5, .non_finite = what});
  for (auto&& parameter : trainer.parameters())
    parameter.assign(std::vector<value>(static_cast<std::size_t>(parameter.size()), value{0}));
  const std::vector<value> x{1, 1};
  std::vector<value> y;
  for (int sample = 0; sample < 2; ++sample)
    for (const double target : targets) y.push_back(static_cast<value>(target));
  try {
    static_cast<void>(trainer.step(batch<model>(x), y));
  } catch (const ls::non_finite_error&) {
    CHECK(what == ls::non_finite::stop);
  }
  std::vector<double> after;
  for (auto&& parameter : trainer.parameters())
    for (const value v : parameter.values()) after.push_back(static_cast<double>(v));
  return after;
}

template <int N, class... Policies>
void check_clipping() {
  INFO(N << " replicas");
  using ls::non_finite;
  // torch.nn.utils.clip_grad_norm_ multiplies every gradient by max_norm / norm: NaN spreads to all of them, while an
  // infinite norm makes what is finite 0 and what is infinite NaN.
  for (const double v : clipped_step<N, Policies...>({nan, 3, 4}, non_finite::ignore)) CHECK(std::isnan(v));
  const auto infinite = clipped_step<N, Policies...>({infinity, 3, 4}, non_finite::ignore);
  REQUIRE(infinite.size() == 6);  // three weights, three biases
  for (std::size_t i = 0; i < infinite.size(); ++i)
    if (i % 3 == 0)
      CHECK(std::isnan(infinite[i]));
    else
      CHECK(infinite[i] == 0);
  for (const double bad : {nan, infinity})
    for (const non_finite what : {non_finite::skip, non_finite::stop})
      for (const double v : clipped_step<N, Policies...>({bad, 3, 4}, what)) CHECK(v == 0);
  // And what is finite is clipped: the gradients are -2 t / 3.
  double squares = 0;
  for (const double v : clipped_step<N, Policies...>({0, 3, 4}, non_finite::ignore)) squares += v * v;
  CHECK(std::sqrt(squares) == Approx(0.5).epsilon(1e-5));
}

}  // namespace

TEST_CASE("a norm that is not finite clips as PyTorch does", "[data_parallel][clip]") {
  check_clipping<1>();
  check_clipping<2>();
  check_clipping<1, ls::reference<double>>();
  check_clipping<2, ls::reduce::reproducible>();
}
