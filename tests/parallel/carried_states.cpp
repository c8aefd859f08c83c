// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <string>
#include <utility>
#include <vector>

#include <lockstep/nn/gru.hpp>
#include <lockstep/nn/lstm.hpp>

#include "io/io_support.hpp"
#include "parallel/rank_support.hpp"

/// \file
/// States that recurrent layers carry from one training step to the next, beside one device. golden/recurrent.cpp holds
/// that device against PyTorch.

namespace carried_states_test {

namespace ls = lockstep;
using namespace lockstep_test;

using reader = ls::lstm<6, ls::layers<2>, ls::dropout<0.25>, ls::carry_state>;
using net = ls::model<ls::sequential<ls::named<"reader", ls::skippable<reader>>,
                                     ls::named<"last", ls::gru<5, ls::carry_state, ls::last_state>>, ls::linear<3>>,
                      ls::input<4, 6>, ls::cross_entropy>;

/// Cuts every shard into micro-shards of two samples.
struct small_passes : ls::cpu {
  static constexpr std::int64_t largest_pass = 2;
};

template <int N, class... Policies>
using trainer_of = ls::data_parallel<net, N, Policies...>;
using one_device = trainer_of<1>;

constexpr ls::sgd rule{.learning_rate = 0.25F, .momentum = 0.5F};
constexpr ls::sgd no_rule{.learning_rate = 0};

template <class Trainer>
void check_equal(Trainer& given, one_device& expected) {
  check_close(all_values(given.gradients()), all_values(expected.gradients()));
  check_close(all_values(given.parameters()), all_values(expected.parameters()));
}

/// Four steps of five samples, with an evaluation in between, and one of seven with fresh states.
template <class Trainer>
void check_steps(Trainer&& trainer) {
  INFO(Trainer::replicas << " replicas");
  one_device one(rule);
  for (int step = 0; step < 5; ++step) {
    if (step == 4) one.reset_states(), trainer.reset_states();
    const piece p = drawn<net>(static_cast<std::uint64_t>(step), step < 4 ? 5 : 7);
    CHECK(is_close(step_on(trainer, p), step_on(one, p), {.relative = 1e-5}));
    if (step == 1) CHECK(std::isfinite(trainer.evaluate(batch<net>(p.x), p.targets).loss_sum));
  }
  check_equal(trainer, one);
}

TEST_CASE("carried states belong to samples, however many replicas there are", "[recurrent][carried]") {
  check_steps(trainer_of<2>(rule));
  check_steps(trainer_of<3>(rule));
  check_steps(trainer_of<2, small_passes>(rule));
}

TEST_CASE("a step changes what the next one computes, and no evaluation", "[recurrent][carried]") {
  one_device trainer(no_rule);
  const piece p = drawn<net>(1, 5);
  const auto outputs = trainer.forward(batch<net>(p.x));
  trainer.skip("reader");  // and its dropout, which differs from step to step
  const double first = step_on(trainer, p);
  const double second = step_on(trainer, p);
  CHECK(first != second);
  trainer.skip("reader", false);
  const auto later = trainer.forward(batch<net>(p.x));
  CHECK(std::vector<float>(outputs.begin(), outputs.end()) == std::vector<float>(later.begin(), later.end()));
  trainer.skip("reader");
  trainer.reset_states();
  CHECK(step_on(trainer, p) == first);
  trainer.initialize(ls::seed{0});
  CHECK(step_on(trainer, p) == first);
}

TEST_CASE("a batch of another size than the states is refused and changes nothing", "[recurrent][carried]") {
  trainer_of<2> trainer(rule);
  const piece five = drawn<net>(1, 5), four = drawn<net>(2, 4);
  static_cast<void>(step_on(trainer, five));
  const auto before = all_values(trainer.parameters());
  CHECK(
      message_of<ls::shape_error>([&] { static_cast<void>(step_on(trainer, four)); }) ==
      "lockstep: data_parallel: expected a batch of 5 samples, as many as have states of the step before, got 4; call "
      "reset_states() before a batch of another size");
  CHECK(all_values(trainer.parameters()) == before);

  one_device one(rule);
  static_cast<void>(step_on(one, five));
  CHECK(is_close(step_on(trainer, five), step_on(one, five), {.relative = 1e-5}));
  trainer.reset_states();
  one.reset_states();
  CHECK(is_close(step_on(trainer, four), step_on(one, four), {.relative = 1e-5}));
}

TEST_CASE("accumulated batches are parts of one, whose samples have their states", "[recurrent][carried]") {
  trainer_of<2> trainer(rule);
  one_device one(rule);
  for (std::uint64_t step = 0; step < 3; ++step) {
    const piece all = drawn<net>(step, 7);
    const piece first = cut<net>(all, 0, 3), rest = cut<net>(all, 3, 4);
    static_cast<void>(trainer.accumulate(batch<net>(first.x), first.targets, 7.0));
    CHECK(
        message_of<ls::value_error>([&] { trainer.reset_states(); }) ==
        "lockstep: data_parallel::reset_states: expected a trainer between steps, got one with accumulated gradients; "
        "call it after the step that uses them");
    static_cast<void>(trainer.step(batch<net>(rest.x), rest.targets, 7.0));
    static_cast<void>(step_on(one, all));
    check_equal(trainer, one);
  }
  const piece more = drawn<net>(5, 8);
  CHECK_THROWS_AS(trainer.accumulate(batch<net>(more.x), more.targets), ls::shape_error);
}

TEST_CASE("a step that is not accepted, and a skipped layer, leave states as they are", "[recurrent][carried]") {
  const piece p = drawn<net>(1, 5), other = drawn<net>(2, 5);
  trainer_of<2> trainer(no_rule, {}, {.non_finite = ls::non_finite::stop}), straight(no_rule);
  static_cast<void>(step_on(trainer, p));
  static_cast<void>(step_on(straight, p));
  piece spoilt = other;
  spoilt.x[0] = std::numeric_limits<float>::quiet_NaN();
  CHECK_THROWS_AS(step_on(trainer, spoilt), ls::non_finite_error);
  CHECK(step_on(trainer, p) == step_on(straight, p));

  using skipped = ls::model<
      ls::sequential<ls::named<"gru", ls::skippable<ls::gru<6, ls::carry_state>>>, ls::flatten, ls::linear<3>>,
      ls::input<4, 6>, ls::cross_entropy>;
  ls::data_parallel<skipped, 1> skipping(no_rule), going(no_rule);
  for (auto* each : {&skipping, &going}) static_cast<void>(step_on(*each, p));
  skipping.skip("gru");
  static_cast<void>(step_on(skipping, other));
  skipping.skip("gru", false);
  const double second = step_on(going, p);
  CHECK(step_on(skipping, p) == second);
  CHECK(step_on(skipping, p) != second);
}

TEST_CASE("states train to the same bits on 1, 2, 4 and 8 replicas", "[recurrent][carried]") {
  constexpr std::int64_t batches[] = {13, 13, 13};
  check_replicas_agree<net>(rule, 1.0, batches);
}

TEST_CASE("each rank carries the states of its own samples", "[recurrent][carried]") {
  one_device one(rule);
  for (std::uint64_t step = 0; step < 3; ++step) static_cast<void>(step_on(one, drawn<net>(step, 5)));
  const auto expected = all_values(one.parameters());
  check_no_failure(run_ranks(2, [&](ls::comm::thread_rank& own) {
    const int rank = own.rank();
    trainer_of<1, ls::comm::thread_rank> trainer(rule, std::move(own));
    const auto part = [&](std::uint64_t step) {
      return cut<net>(drawn<net>(step, 5), rank == 0 ? 0 : 2, rank == 0 ? 2 : 3);
    };
    static_cast<void>(step_on(trainer, part(0)));
    // One rank's batch is too small: neither steps.
    const std::string said = message_of<ls::error>(
        [&] { static_cast<void>(step_on(trainer, rank == 0 ? part(1) : cut<net>(part(1), 0, 2))); });
    expect(said != "nothing was thrown");
    if (rank == 1) expect_contains(said, "expected a batch of 3 samples");
    for (std::uint64_t step = 1; step < 3; ++step) static_cast<void>(step_on(trainer, part(step)));
    expect_close(all_values(trainer.parameters()), expected);
  }));
}

TEST_CASE("a checkpoint holds carried states, for any number of replicas", "[recurrent][carried][checkpoint]") {
  const temporary_folder folder;
  const std::string path = folder / "run.safetensors";
  using reproducible = ls::reduce::reproducible;
  trainer_of<2, reproducible> straight(rule);
  ls::save_checkpoint(straight, folder / "fresh.safetensors");
  for (std::uint64_t step = 0; step < 2; ++step) static_cast<void>(step_on(straight, drawn<net>(step, 5)));
  ls::save_checkpoint(straight, path);
  const auto file = ls::safetensors_file::read(path);
  CHECK(file.at("carried_state.0.reader").shape == std::vector<std::int64_t>{5, 12});
  CHECK(file.at("carried_state.2.last").shape == std::vector<std::int64_t>{5, 5});

  trainer_of<4, reproducible> resumed(rule);
  static_cast<void>(step_on(resumed, drawn<net>(9, 8)));
  ls::load_checkpoint(resumed, path);
  for (std::uint64_t step = 2; step < 4; ++step)
    CHECK(step_on(resumed, drawn<net>(step, 5)) == step_on(straight, drawn<net>(step, 5)));
  CHECK(all_values(resumed.parameters()) == all_values(straight.parameters()));

  // Saved before its first step, a run begins with zeros.
  ls::load_checkpoint(resumed, folder / "fresh.safetensors");
  trainer_of<2, reproducible> again(rule);
  CHECK(step_on(resumed, drawn<net>(0, 8)) == step_on(again, drawn<net>(0, 8)));
}

}  // namespace carried_states_test
