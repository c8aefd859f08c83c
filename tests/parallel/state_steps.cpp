// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include <cmath>
#include <cstdint>
#include <vector>

#include "parallel/rank_support.hpp"
#include "support/queued_backend.hpp"

/// \file
/// The first step that an optimizer's state of a layer sees is that layer's own, as in PyTorch, whose optimizers count
/// by tensor. Expected weights are those of torch.optim.SGD.

namespace ls = lockstep;
using namespace lockstep_test;

namespace {

using net = ls::sequential<ls::named<"a", ls::linear_without_bias<1, 1>>,
                           ls::named<"b", ls::skippable<ls::linear_without_bias<1, 1>>>>;
using model = ls::model<net, ls::input<1>, ls::mean_squared_error>;
constexpr ls::sgd damped{.learning_rate = 0.1F, .momentum = 0.9F, .dampening = 0.5F};

template <class Trainer>
void fill(Trainer& trainer, float value) {
  for (const auto& each : trainer.parameters()) each.assign(std::vector<float>{value});
}

template <class Trainer>
float weight(Trainer& trainer, const char* name) {
  return trainer.parameters().at(name).values().front();
}

/// torch: two linear layers of one weight 0.5, x = 1, y = 2, lr 0.1, momentum 0.9, dampening 0.5; b takes part from the
/// third step on.
template <class Trainer>
void check_late_layer(Trainer& trainer) {
  fill(trainer, 0.5F);
  const std::vector<float> x{1}, y{2};
  const auto step = [&] { static_cast<void>(trainer.step(batch<model>(x), y)); };
  trainer.skip("b");
  step();
  CHECK(weight(trainer, "a.weight") == Approx(0.8).epsilon(1e-6));
  step();
  CHECK(weight(trainer, "a.weight") == Approx(1.19).epsilon(1e-6));
  CHECK(weight(trainer, "b.weight") == 0.5F);
  trainer.skip("b", false);
  step();
  CHECK(weight(trainer, "b.weight") == Approx(0.834390).epsilon(1e-6));
  step();
  CHECK(weight(trainer, "b.weight") == Approx(1.240973).epsilon(1e-6));
}

}  // namespace

TEST_CASE("a layer that is first used late begins with its undamped gradient", "[skip]") {
  ls::data_parallel<model, 1> one(damped);
  check_late_layer(one);
  ls::data_parallel<model, 2> two(damped);
  check_late_layer(two);
  ls::data_parallel<model, 1, queued> device(damped);
  check_late_layer(device);
  ls::data_parallel<model, 2, queued> shared(damped);
  check_late_layer(shared);
}

TEST_CASE("momentum that is switched on late begins with the undamped gradient, after initialize() too",
          "[optimizer]") {
  const std::vector<float> x{1}, y{2};
  ls::data_parallel<model, 1> trainer(damped);
  for (int round = 0; round < 2; ++round) {
    trainer.initialize(ls::seed{1});
    trainer.optimizer().momentum = 0;
    fill(trainer, 0.5F);
    static_cast<void>(trainer.step(batch<model>(x), y));
    trainer.optimizer().momentum = 0.9F;
    fill(trainer, 0.5F);
    static_cast<void>(trainer.step(batch<model>(x), y));
    // da = 2 (a b - 2) b = -1.75, and the step is lr times that.
    CHECK(weight(trainer, "a.weight") == Approx(0.675).epsilon(1e-6));
    CHECK(weight(trainer, "b.weight") == Approx(0.675).epsilon(1e-6));
  }
}

TEST_CASE("a step whose gradients are not finite is none that the state has seen", "[optimizer][non_finite]") {
  std::vector<float> x{INFINITY};
  const std::vector<float> y{2};
  ls::data_parallel<model, 1> trainer(damped, {}, {.non_finite = ls::non_finite::skip});
  fill(trainer, 0.5F);
  static_cast<void>(trainer.step(batch<model>(x), y));
  x[0] = 1;
  static_cast<void>(trainer.step(batch<model>(x), y));
  CHECK(weight(trainer, "a.weight") == Approx(0.675).epsilon(1e-6));
}

TEST_CASE("broadcast brings the counts of steps to ranks that join late", "[skip][ranks]") {
  const std::vector<float> x{1}, y{2};
  check_no_failure(run_ranks(2, [&](ls::comm::thread_rank& rank) {
    const int r = rank.rank();
    ls::data_parallel<model, 1, ls::comm::thread_rank> trainer(damped, std::move(rank));
    const auto step = [&] { static_cast<void>(trainer.step(batch<model>(x), y)); };
    trainer.skip("b");
    step();
    // Rank 1 begins anew, and is given what rank 0 has.
    if (r == 1) trainer.initialize(ls::seed{9});
    trainer.broadcast(0);
    trainer.skip("b", false);
    step();
    trainer.verify();
    step();
    trainer.verify();
  }));
}

TEST_CASE("broadcast brings what is skipped and what a schedule has seen", "[skip][ranks]") {
  using rule = ls::scheduled<ls::sgd, ls::schedule::reduce_on_plateau>;
  const std::vector<float> x{1}, y{2};
  check_no_failure(run_ranks(2, [&](ls::comm::thread_rank& rank) {
    const int r = rank.rank();
    ls::data_parallel<model, 1, ls::comm::thread_rank, rule> trainer(
        rule{damped, ls::schedule::reduce_on_plateau{.factor = 0.5, .patience = 0}}, std::move(rank));
    auto& schedule = trainer.optimizer().schedule;
    if (r == 1) {
      trainer.skip("b");
      for (const double loss : {3.0, 4.0, 2.0, 5.0}) schedule.observe(loss);
    }
    trainer.broadcast(1);
    expect(schedule.now == 0.25 && schedule.best == 2.0, "what rank 1 has observed");
    schedule.observe(6.0);
    expect(schedule.now == 0.125);
    // Rank 0 skips the layer without a call of its own: its weight rests.
    const float before = weight(trainer, "b.weight");
    static_cast<void>(trainer.step(batch<model>(x), y));
    expect(weight(trainer, "b.weight") == before, "a skipped layer");
    trainer.verify();
    // And nothing is skipped once a rank that skips nothing has given its state.
    if (r == 0) trainer.skip("b", false);
    trainer.broadcast(0);
    static_cast<void>(trainer.step(batch<model>(x), y));
    expect(weight(trainer, "b.weight") != before, "the layer runs again");
    trainer.verify();
  }));
}
