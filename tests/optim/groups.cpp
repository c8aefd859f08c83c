// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include <lockstep/core/shape.hpp>
#include <lockstep/optim/adamw.hpp>
#include <lockstep/optim/parameter_groups.hpp>
#include <lockstep/optim/schedule/constant.hpp>
#include <lockstep/optim/scheduled.hpp>

#include "support/catch.hpp"

namespace {

namespace ls = lockstep;

constexpr ls::dims matrix{3, 4};
constexpr ls::dims vector{3};

static_assert(ls::like<"*.bias">::takes("features.0.bias", vector));
static_assert(!ls::like<"*.bias">::takes("features.0.weight", matrix));
static_assert(!ls::like<"*.bias">::takes("bias", vector));
static_assert(ls::like<"*bias">::takes("bias", vector));
static_assert(ls::like<"head.*">::takes("head.fc.weight", matrix));
static_assert(!ls::like<"head.*">::takes("heads.weight", matrix));
static_assert(ls::like<"*.norm*.weight">::takes("layer1.norm2.weight", vector));
static_assert(!ls::like<"*.norm*.weight">::takes("layer1.norm2.bias", vector));
static_assert(ls::like<"0.weight">::takes("0.weight", matrix));
static_assert(!ls::like<"0.weight">::takes("10.weight", matrix));
static_assert(ls::like<"*">::takes("", vector));
static_assert(!ls::like<"">::takes("a", vector));
static_assert(ls::like<"a**b">::takes("ab", vector));
static_assert(ls::vectors::takes("x", vector) && !ls::vectors::takes("x", matrix));

using both = ls::parameter_group<ls::vectors, ls::weight_decay_times<1, 4>, ls::learning_rate_times<3>>;
static_assert(both::decay == 0.25 && both::rate == 3);
static_assert(ls::no_decay_on_vectors::decay == 0 && ls::no_decay_on_vectors::rate == 1);

/// What a rule makes of a parameter of 1 whose gradient is 0: decay alone.
template <class Optimizer>
double decayed(const Optimizer& optimizer, double rate, double decay) {
  double p = 1;
  double m = 0;
  double v = 0;
  ls::detail::group_rule<double>(optimizer, 0, rate, decay, [&](auto states, const auto& rule) {
    if constexpr (states() == 2) rule(0.0, p, m, v);
  });
  return p;
}

}  // namespace

TEST_CASE("a group's factors change the optimizer's options, behind a schedule too", "[groups]") {
  const ls::adamw optimizer{.learning_rate = 0.5, .weight_decay = 0.25};
  CHECK(decayed(optimizer, 1, 1) == 1 - 0.5 * 0.25);
  CHECK(decayed(optimizer, 1, 0) == 1);
  CHECK(decayed(optimizer, 0.5, 2) == 1 - 0.25 * 0.5);
  ls::scheduled scheduled{optimizer, [](auto) { return 0.5; }};
  scheduled.begin_step(0);
  CHECK(decayed(scheduled, 1, 1) == 1 - 0.25 * 0.25);
  CHECK(decayed(scheduled, 0.5, 2) == 1 - 0.125 * 0.5);
}
