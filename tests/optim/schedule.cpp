// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include <cmath>
#include <cstdint>
#include <limits>
#include <type_traits>

#include <lockstep/core/error.hpp>
#include <lockstep/optim/adamw.hpp>
#include <lockstep/optim/schedule/constant.hpp>
#include <lockstep/optim/schedule/cosine.hpp>
#include <lockstep/optim/schedule/linear.hpp>
#include <lockstep/optim/schedule/multi_step.hpp>
#include <lockstep/optim/schedule/one_cycle.hpp>
#include <lockstep/optim/schedule/reduce_on_plateau.hpp>
#include <lockstep/optim/schedule/step.hpp>
#include <lockstep/optim/schedule/warm_up.hpp>
#include <lockstep/optim/scheduled.hpp>
#include <lockstep/optim/sgd.hpp>

#include "support/catch.hpp"

namespace {

namespace ls = lockstep;
namespace schedule = ls::schedule;

using falling = ls::scheduled<ls::sgd, schedule::step>;
static_assert(ls::optimizer<falling>);
static_assert(falling::max_states == 1);
static_assert(std::is_same_v<decltype(ls::scheduled{ls::sgd{}, schedule::step{}}), falling>);

/// What the scheduled rule takes off a parameter whose gradient is 1.
template <class Optimizer>
double step_of(const Optimizer& optimizer) {
  double p = 0;
  optimizer.template rule<double>(0, [&](auto states, const auto& rule) {
    if constexpr (states() == 0) rule(1.0, p);
  });
  return -p;
}

}  // namespace

TEST_CASE("a scheduled optimizer changes its learning rate and nothing else", "[schedule]") {
  falling optimizer{ls::sgd{.learning_rate = 0.5}, schedule::step{.step_size = 2, .gamma = 0.1}};
  CHECK_NOTHROW(optimizer.check_options());
  CHECK(step_of(optimizer) == 0.5);
  for (const std::int64_t step : {0, 1, 2, 3, 4, 0}) {
    optimizer.begin_step(step);
    const double expected = 0.5 * std::pow(0.1, static_cast<double>(step / 2));
    CHECK(step_of(optimizer) == Approx(expected).epsilon(1e-15));
    CHECK(optimizer.learning_rate() == step_of(optimizer));
    CHECK(optimizer.optimizer.learning_rate == 0.5);
  }
  optimizer.optimizer.momentum = 0.9;
  CHECK(optimizer.states() == 1);
}

TEST_CASE("any callable is a schedule", "[schedule]") {
  ls::scheduled optimizer{ls::sgd{.learning_rate = 2},
                          [](std::int64_t step) { return 1.F / static_cast<float>(step); }};
  optimizer.begin_step(4);
  CHECK(step_of(optimizer) == 0.5);
  // It is checked in each step, since it is not known before; the rate stays.
  CHECK_THROWS_WITH(optimizer.begin_step(0),
                    "lockstep: scheduled: expected a schedule whose factors are finite and zero or more, got inf");
  CHECK(step_of(optimizer) == 0.5);
  ls::scheduled negative{ls::sgd{}, [](std::int64_t) { return -1; }};
  CHECK_THROWS_AS(negative.begin_step(0), ls::value_error);
}

TEST_CASE("a schedule that has ended says so, unless it is to hold", "[schedule]") {
  const schedule::cosine cosine{.steps = 10, .min_factor = 0.25};
  CHECK(cosine(10) == Approx(0.25));
  CHECK_THROWS_AS(cosine(11), ls::value_error);
  CHECK_THROWS_WITH(cosine(11),
                    "lockstep: schedule::cosine: expected steps from 0 to 10, got step 11; give it the steps of the "
                    "whole training, or set hold");
  CHECK(schedule::cosine{.steps = 10, .min_factor = 0.25, .hold = true}(1000) == Approx(0.25));

  const schedule::one_cycle cycle{.steps = 10};
  CHECK(cycle(9) == Approx(1 / 25.0 / 1e4));
  CHECK_THROWS_WITH(cycle(10),
                    "lockstep: schedule::one_cycle: expected steps from 0 to 9, got step 10; give it the steps of the "
                    "whole training, or set hold");
  CHECK(schedule::one_cycle{.steps = 10, .hold = true}(10) == cycle(9));

  const schedule::warm_up warm{5, cosine};
  CHECK_NOTHROW(warm(15));
  CHECK_THROWS_AS(warm(16), ls::value_error);
  CHECK(schedule::linear{.steps = 4}(1000) == 1);
}

TEST_CASE("one_cycle has no step that is no number, however short", "[schedule]") {
  for (const std::int64_t steps : {1, 2, 3, 4, 7})
    for (const double start : {0.0, 0.3, 0.5, 1.0})
      for (const bool three : {false, true})
        for (std::int64_t step = 0; step < steps; ++step) {
          CAPTURE(steps, start, three, step);
          const double factor = schedule::one_cycle{.steps = steps, .pct_start = start, .three_phase = three}(step);
          CHECK(factor >= 0);
          CHECK(factor <= 1);
        }
}

TEST_CASE("a warm-up rises to what comes next", "[schedule]") {
  const schedule::warm_up warm{4, schedule::constant{}, 0.0};
  CHECK(warm(0) == 0);
  CHECK(warm(1) == 0.25);
  CHECK(warm(4) == 1);
  CHECK(warm(400) == 1);
  CHECK(schedule::warm_up{0}(0) == 1);
  // The top of one_cycle's course is not its start.
  const schedule::warm_up into_cycle{2, schedule::one_cycle{.steps = 10}, 0.5};
  CHECK(into_cycle(0) == Approx(0.02));
  CHECK(into_cycle(2) == Approx(0.04));
}

TEST_CASE("schedules name an option that is out of its domain", "[schedule]") {
  const auto message = [](const auto& of, const char* text) { CHECK_THROWS_WITH(of.check_options(), text); };
  message(schedule::step{}, "lockstep: schedule::step: expected a step_size of one or more, got 0");
  message(schedule::step{.step_size = 1, .gamma = -1},
          "lockstep: schedule::step: expected a gamma of zero or more, got -1");
  message(schedule::multi_step{.milestones = {3, -1}},
          "lockstep: schedule::multi_step: expected milestones of zero or more, got -1");
  message(schedule::cosine{}, "lockstep: schedule::cosine: expected steps of one or more, got 0");
  message(schedule::cosine{.steps = 1, .min_factor = -1},
          "lockstep: schedule::cosine: expected a min_factor of zero or more, got -1");
  message(schedule::linear{}, "lockstep: schedule::linear: expected steps of one or more, got 0");
  message(schedule::one_cycle{}, "lockstep: schedule::one_cycle: expected steps of one or more, got 0");
  message(schedule::one_cycle{.steps = 1, .pct_start = 1.5},
          "lockstep: schedule::one_cycle: expected a pct_start from zero to one, got 1.5");
  message(schedule::one_cycle{.steps = 1, .div_factor = 0},
          "lockstep: schedule::one_cycle: expected a div_factor above zero, got 0");
  message(schedule::warm_up{-1}, "lockstep: schedule::warm_up: expected steps of zero or more, got -1");
  message(schedule::warm_up{1, schedule::cosine{}}, "lockstep: schedule::cosine: expected steps of one or more, got 0");
  message(schedule::reduce_on_plateau{.factor = 1},
          "lockstep: schedule::reduce_on_plateau: expected a factor from zero to below one, got 1");
  message(schedule::reduce_on_plateau{.patience = -1},
          "lockstep: schedule::reduce_on_plateau: expected a patience of zero or more, got -1");
  message(ls::scheduled{ls::sgd{.momentum = -1}, schedule::constant{}},
          "lockstep: sgd: expected a momentum of zero or more, got -1");
  message(ls::scheduled{ls::sgd{}, schedule::step{}},
          "lockstep: schedule::step: expected a step_size of one or more, got 0");
}

TEST_CASE("reduce_on_plateau takes no NaN and no first infinity for a best value", "[schedule]") {
  for (const double value : {std::numeric_limits<double>::quiet_NaN(), std::numeric_limits<double>::infinity()}) {
    schedule::reduce_on_plateau plateau{.factor = 0.5, .patience = 1};
    plateau.observe(value);
    plateau.observe(value);
    CHECK(plateau(0) == 0.5);
    plateau.observe(3);
    CHECK(plateau.best == 3);
  }
}
