// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>
#include <string>
#include <vector>

#include "parallel/rank_support.hpp"
#include "parallel/reproducible.hpp"
#include "support/queued_backend.hpp"

/// \file
/// Trainers with optimizers other than sgd, with schedules, and with gradients clipped by value. What the optimizers
/// compute is tested in golden/optimizers.cpp.

namespace ls = lockstep;
using namespace lockstep_test;

namespace {

using mlp_net =
    ls::sequential<ls::linear<96>, ls::relu, ls::named<"b", ls::skippable<ls::linear<96>>>, ls::relu, ls::linear<10>>;
using mlp =
    ls::model<mlp_net, ls::input<130>, ls::cross_entropy>;  // over 20,000 parameters, so that every slice has some
using small_net = ls::sequential<ls::linear<12>, ls::relu, ls::linear<5>>;
using small = ls::model<small_net, ls::input<8>, ls::cross_entropy>;
using exact = ls::reference<double>;

struct bits {
  std::vector<double> losses;
  std::vector<std::vector<float>> parameters;

  bool operator==(const bits& other) const {
    return same_bits(losses, other.losses) && same_bits(parameters, other.parameters);
  }
};

/// Eight steps; the second layer is skipped in two of them.
template <int N, class Optimizer, class... Policies>
bits train(const Optimizer& optimizer, const ls::trainer_options& options = {}) {
  ls::data_parallel<mlp, N, Optimizer, ls::reduce::reproducible, Policies...> trainer(optimizer, {}, options);
  trainer.initialize(ls::seed{7});
  bits all;
  for (int step = 0; step < 8; ++step) {
    const std::int64_t samples = step == 5 ? 3 : 40;
    const auto x = draws<float>(1, samples * 130);
    const auto targets = class_draws(2, samples, 10);
    trainer.skip("b", step == 0 || step == 4);
    all.losses.push_back(trainer.step(batch<mlp>(x), targets));
  }
  all.parameters = all_values(trainer.parameters());
  return all;
}

template <class Optimizer>
void check_equal_bits(const Optimizer& optimizer) {
  const bits one = train<1>(optimizer);
  CHECK(one.losses.back() < one.losses.front());
  CHECK(train<2>(optimizer) == one);
  CHECK(train<8>(optimizer) == one);
  CHECK(train<2, Optimizer, queued>(optimizer) == one);
  const ls::trainer_options clipping{.max_norm = 1, .max_value = 0.01};
  const bits clipped = train<1>(optimizer, clipping);
  CHECK_FALSE(clipped == one);
  CHECK(train<4>(optimizer, clipping) == clipped);
  CHECK(train<2, Optimizer, queued>(optimizer, clipping) == clipped);
  const ls::trainer_options by_value{.max_value = 0.01};
  CHECK(train<1, Optimizer, queued>(optimizer, by_value) == train<1>(optimizer, by_value));
}

}  // namespace

TEST_CASE("adam trains to the same bits on any number of replicas", "[reproducible][optimizer]") {
  check_equal_bits(ls::adam{.learning_rate = 0.01, .weight_decay = 0.01, .amsgrad = true});
}
TEST_CASE("a scheduled adamw trains to the same bits on any number of replicas", "[reproducible][optimizer]") {
  check_equal_bits(
      ls::scheduled{ls::adamw{.learning_rate = 0.01}, ls::schedule::warm_up{3, ls::schedule::cosine{.steps = 10}}});
}
TEST_CASE("nadam trains to the same bits on any number of replicas", "[reproducible][optimizer]") {
  check_equal_bits(ls::nadam{.learning_rate = 0.01});
}
TEST_CASE("rmsprop trains to the same bits on any number of replicas", "[reproducible][optimizer]") {
  check_equal_bits(ls::rmsprop{.learning_rate = 0.001, .momentum = 0.9, .centered = true});
}
TEST_CASE("lion trains to the same bits on any number of replicas", "[reproducible][optimizer]") {
  check_equal_bits(ls::lion{.learning_rate = 0.003, .weight_decay = 0.1});
}

TEST_CASE("adam corrects the bias of a layer that is used late by that layer's own steps", "[skip][optimizer]") {
  using net = ls::sequential<ls::named<"a", ls::linear_without_bias<1, 1>>,
                             ls::named<"b", ls::skippable<ls::linear_without_bias<1, 1>>>>;
  using model = ls::model<net, ls::input<1>, ls::mean_squared_error>;
  const std::vector<float> x{1}, y{2};
  const auto check = [&]<class Trainer> {
    Trainer trainer(ls::adam{.learning_rate = 0.1});
    for (const auto& each : trainer.parameters()) each.assign(std::vector<float>{0.5F});
    const auto step = [&] { static_cast<void>(trainer.step(batch<model>(x), y)); };
    const auto weight = [&](const char* name) { return trainer.parameters().at(name).values().front(); };
    trainer.skip("b");
    for (int i = 0; i < 3; ++i) step();
    CHECK(weight("b.weight") == 0.5F);
    trainer.skip("b", false);
    step();
    // Adam's first step is the learning rate itself, whatever the gradient.
    CHECK(weight("b.weight") == Approx(0.6).epsilon(1e-6));
  };
  check.operator()<ls::data_parallel<model, 1, ls::adam>>();
  check.operator()<ls::data_parallel<model, 2, ls::adam, queued>>();
}

TEST_CASE("gradients are clipped by value once they are summed and scaled", "[clip]") {
  const auto x = draws<double>(1, 24 * 8);
  const auto targets = class_draws(2, 24, 5);
  const auto check = [&]<int N>(const ls::trainer_options& options) {
    ls::data_parallel<small, N, exact> trainer({.learning_rate = 1}, {}, options);
    const auto before = all_values(trainer.parameters());
    static_cast<void>(trainer.step(batch<small>(x), targets));
    auto gradients = all_values(trainer.gradients());
    double squares = 0;
    for (const auto& each : gradients)
      for (const double g : each) squares += g * g;
    const double norm = std::sqrt(squares);
    const double scale = norm > options.max_norm ? options.max_norm / (norm + 1e-6) : 1;
    const auto after = all_values(trainer.parameters());
    int clipped = 0;
    for (std::size_t p = 0; p < before.size(); ++p)
      for (std::size_t i = 0; i < before[p].size(); ++i) {
        const double g = scale * gradients[p][i];
        const double used = std::clamp(g, -options.max_value, options.max_value);
        if (used != g) ++clipped;
        CHECK(std::abs(before[p][i] - used - after[p][i]) <= 1e-12);
      }
    CHECK(clipped > 0);
  };
  for (const ls::trainer_options& options : {ls::trainer_options{.max_value = 0.02},
                                             {.max_norm = 0.1, .max_value = 0.02},
                                             {.max_value = 0.02, .non_finite = ls::non_finite::skip}}) {
    check.operator()<1>(options);
    check.operator()<3>(options);
  }
}

TEST_CASE("clipping by value takes ranks' gradients together, and those that were accumulated", "[clip][ranks]") {
  const auto x = draws<float>(1, 24 * 8);
  const auto targets = class_draws(2, 24, 5);
  const ls::trainer_options options{.max_value = 0.02};
  ls::data_parallel<small, 2> alone({.learning_rate = 1}, {}, options);
  alone.initialize(ls::seed{3});
  static_cast<void>(alone.step(batch<small>(x), targets));
  const auto expected = all_values(alone.parameters());

  const std::vector<float> first(x.begin(), x.begin() + 10 * 8);
  const std::vector<float> second(x.begin() + 10 * 8, x.end());
  const std::vector<std::int64_t> first_targets(targets.begin(), targets.begin() + 10);
  const std::vector<std::int64_t> second_targets(targets.begin() + 10, targets.end());
  ls::data_parallel<small, 2> parts({.learning_rate = 1}, {}, options);
  parts.initialize(ls::seed{3});
  static_cast<void>(parts.accumulate(batch<small>(first), first_targets, 24.0));
  static_cast<void>(parts.step(batch<small>(second), second_targets, 24.0));
  check_close(all_values(parts.parameters()), expected);

  check_no_failure(run_ranks(2, [&](ls::comm::thread_rank& rank) {
    const bool begins = rank.rank() == 0;
    ls::data_parallel<small, 1, ls::comm::thread_rank> trainer({.learning_rate = 1}, std::move(rank), {}, options);
    trainer.initialize(ls::seed{3});
    static_cast<void>(trainer.step(batch<small>(begins ? first : second), begins ? first_targets : second_targets));
    trainer.verify();
    const auto given = all_values(trainer.parameters());
    for (std::size_t p = 0; p < given.size(); ++p)
      if (!(relative_difference(given[p], expected[p]) <= 1e-5)) throw std::runtime_error("parameters differ");
  }));
}

TEST_CASE("a max_value has to be above zero", "[clip]") {
  CHECK_THROWS_WITH((ls::data_parallel<small, 1>({}, {}, {.max_value = 0})),
                    "lockstep: data_parallel: expected a max_value above zero, got 0.000000");
  CHECK_THROWS_AS((ls::data_parallel<small, 1>({}, {}, {.max_value = std::numeric_limits<double>::quiet_NaN()})),
                  ls::value_error);
}

TEST_CASE("a schedule follows the trainer's steps", "[schedule]") {
  const auto x = draws<float>(1, 24 * 8);
  const auto targets = class_draws(2, 24, 5);
  const ls::schedule::cosine cosine{.steps = 5, .min_factor = 0.1};
  using rule = ls::scheduled<ls::adamw, ls::schedule::cosine>;
  ls::data_parallel<small, 2, rule> scheduled({ls::adamw{.learning_rate = 0.1}, cosine});
  ls::data_parallel<small, 2, ls::adamw> by_hand;
  for (int round = 0; round < 2; ++round) {
    scheduled.initialize(ls::seed{3});
    by_hand.initialize(ls::seed{3});
    for (std::int64_t step = 0; step <= 5; ++step) {
      by_hand.optimizer().learning_rate = 0.1 * cosine(step);
      CHECK(scheduled.step(batch<small>(x), targets) == by_hand.step(batch<small>(x), targets));
      CHECK(scheduled.optimizer().learning_rate() == by_hand.optimizer().learning_rate);
    }
    CHECK(same_bits(all_values(scheduled.parameters()), all_values(by_hand.parameters())));

    // The schedule has ended: nothing changes until it is made longer, or training begins anew.
    CHECK_THROWS_AS(scheduled.step(batch<small>(x), targets), ls::value_error);
    CHECK(same_bits(all_values(scheduled.parameters()), all_values(by_hand.parameters())));
    CHECK(scheduled.steps() == 6);
  }
  scheduled.optimizer().schedule.hold = true;
  CHECK_NOTHROW(scheduled.step(batch<small>(x), targets));
}

TEST_CASE("ranks whose schedule ends all throw", "[schedule][ranks]") {
  const auto x = draws<float>(1, 24 * 8);
  const auto targets = class_draws(2, 24, 5);
  check_no_failure(run_ranks(2, [&](ls::comm::thread_rank& rank) {
    using rule = ls::scheduled<ls::sgd, ls::schedule::one_cycle>;
    // The ranks' own schedules, as long as they are, throw at the step of the shorter one.
    ls::schedule::one_cycle cycle{.steps = rank.rank() == 0 ? 2 : 3};
    ls::data_parallel<small, 1, rule, ls::comm::thread_rank> trainer({ls::sgd{}, cycle}, std::move(rank));
    for (int i = 0; i < 2; ++i) static_cast<void>(trainer.step(batch<small>(x), targets));
    bool threw = false;
    try {
      static_cast<void>(trainer.step(batch<small>(x), targets));
    } catch (const ls::error&) {
      threw = true;
    }
    if (!threw) throw std::runtime_error("a step after the schedule's end went on");
  }));
}

TEST_CASE("ranks may join once a training is as long as its schedule", "[schedule][ranks]") {
  const auto x = draws<float>(1, 24 * 8);
  const auto targets = class_draws(2, 24, 5);
  check_no_failure(run_ranks(2, [&](ls::comm::thread_rank& rank) {
    using rule = ls::scheduled<ls::sgd, ls::schedule::one_cycle>;
    const int own = rank.rank() == 0 ? 3 : 2;
    ls::data_parallel<small, 1, rule, ls::comm::thread_rank> trainer({ls::sgd{}, {.steps = 3}}, std::move(rank));
    for (int i = 0; i < own; ++i) static_cast<void>(trainer.step(batch<small>(x), targets));
    trainer.join();
    expect(trainer.steps() == 3);
    // All have joined; another step is refused on every rank.
    bool threw = false;
    try {
      static_cast<void>(trainer.step(batch<small>(x), targets));
    } catch (const ls::error&) {
      threw = true;
    }
    expect(threw);
  }));
}

TEST_CASE("a watched loss lowers the learning rate of a running trainer", "[schedule]") {
  const auto x = draws<float>(1, 24 * 8);
  const auto targets = class_draws(2, 24, 5);
  using rule = ls::scheduled<ls::sgd, ls::schedule::reduce_on_plateau>;
  ls::data_parallel<small, 1, rule> trainer({ls::sgd{.learning_rate = 0.5}, {.factor = 0.5, .patience = 0}});
  for (const double loss : {1.0, 2.0}) {
    static_cast<void>(trainer.step(batch<small>(x), targets));
    CHECK(trainer.optimizer().learning_rate() == 0.5);
    trainer.optimizer().schedule.observe(loss);
  }
  static_cast<void>(trainer.step(batch<small>(x), targets));
  CHECK(trainer.optimizer().learning_rate() == 0.25);
}
