// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <string>
#include <vector>

#include "parallel/rank_support.hpp"

namespace ls = lockstep;
using namespace lockstep_test;
using ls::comm::thread_rank;

namespace {

using net = ls::sequential<ls::linear<48>, ls::relu, ls::dropout<0.25>, ls::linear<24>, ls::relu, ls::linear<10>>;
using mlp = ls::model<net, ls::input<30>, ls::cross_entropy>;
using small_buckets = ls::bucket_bytes<1024>;
constexpr ls::sgd momentum{.learning_rate = 0.1F, .momentum = 0.9F};

/// The bits that ranks with equal parts of every batch leave behind; each rank's must be the same.
template <int World, int N, class... Policies>
trained_bits train_on_ranks(double max_norm, const std::vector<piece>& batches) {
  std::array<trained_bits, World> all;
  check_no_failure(run_ranks(World, [&](thread_rank& rank) {
    trained_bits& bits = all[static_cast<std::size_t>(rank.rank())];
    ls::data_parallel<mlp, N, thread_rank, small_buckets, Policies...> trainer(momentum, std::move(rank), {},
                                                                               {.max_norm = max_norm});
    trainer.initialize(ls::seed{7});
    for (const piece& whole : batches) {
      const auto part = static_cast<std::int64_t>(whole.targets.size()) / World;
      const piece own = cut<mlp>(whole, part * trainer.communicator().rank(), part);
      bits.losses.push_back(step_on(trainer, own));
      bits.norms.push_back(trainer.gradient_norm());
    }
    bits.gradients = all_values(trainer.gradients());
    bits.parameters = all_values(trainer.parameters());
  }));
  for (const trained_bits& each : all) check_same_bits(each, all[0]);
  return all[0];
}

std::vector<piece> three_batches() { return {drawn<mlp>(1, 64), drawn<mlp>(2, 64), drawn<mlp>(3, 128)}; }

/// A trainer of one process on whole batches.
template <int N, class... Policies>
trained_bits train_alone(double max_norm, const std::vector<piece>& batches) {
  trained_bits bits;
  ls::data_parallel<mlp, N, Policies...> trainer(momentum, {}, {.max_norm = max_norm});
  trainer.initialize(ls::seed{7});
  for (const piece& whole : batches) {
    bits.losses.push_back(step_on(trainer, whole));
    bits.norms.push_back(trainer.gradient_norm());
  }
  bits.gradients = all_values(trainer.gradients());
  bits.parameters = all_values(trainer.parameters());
  return bits;
}

}  // namespace

TEST_CASE("ranks of a communicator train to the bits of one process under reduce::reproducible", "[ranks]") {
  const auto batches = three_batches();
  using ls::reduce::reproducible;
  const auto alone = train_alone<2, reproducible, ls::micro_shards<8>>(0.1, batches);
  REQUIRE(*std::max_element(alone.norms.begin(), alone.norms.end()) > 0.1);  // else nothing was clipped
  check_same_bits(train_on_ranks<1, 4, reproducible, ls::micro_shards<8>>(0.1, batches), alone);
  check_same_bits(train_on_ranks<2, 2, reproducible, ls::micro_shards<4>>(0.1, batches), alone);
  check_same_bits(train_on_ranks<4, 1, reproducible, ls::micro_shards<2>>(0.1, batches), alone);
  check_same_bits(train_on_ranks<4, 2, reproducible, ls::micro_shards<2>>(0.1, batches), alone);
  check_same_bits(train_on_ranks<8, 1, reproducible, ls::micro_shards<1>>(0.1, batches), alone);
}

TEST_CASE("any number of ranks gives the results of one process", "[ranks]") {
  const auto batches = three_batches();
  const double none = std::numeric_limits<double>::infinity();
  const auto alone = train_alone<1>(none, batches);
  const auto check = [&](const trained_bits& given) {
    CHECK(relative_difference(given.losses, alone.losses) < 1e-5);
    check_close(given.parameters, alone.parameters);
    check_close(given.gradients, alone.gradients);
  };
  check(train_on_ranks<1, 1>(none, batches));
  check(train_on_ranks<2, 1>(none, batches));
  check(train_on_ranks<2, 3>(none, batches));
  check(train_on_ranks<4, 2>(none, batches));
}

TEST_CASE("ranks with parts of different sizes, weighted classes and ignored targets give the results of one process",
          "[ranks]") {
  piece whole = drawn<mlp>(5, 24);
  for (std::size_t i = 9; i < 14; ++i) whole.targets[i] = -100;  // all that the second rank has
  const std::vector<float> weights{1, 2, 0.5F, 1, 3, 1, 1, 0.25F, 1, 2};
  const ls::cross_entropy loss{.class_weights = weights, .label_smoothing = 0.1F};
  ls::data_parallel<mlp, 1> alone({.learning_rate = 0.1F}, loss);
  std::vector<double> losses;
  for (int s = 0; s < 3; ++s) losses.push_back(step_on(alone, whole));

  // The third rank has nothing at all.
  constexpr std::array<std::int64_t, 5> edges{0, 9, 14, 14, 24};
  check_no_failure(run_ranks(4, [&](thread_rank& rank) {
    const auto r = static_cast<std::size_t>(rank.rank());
    const piece own = cut<mlp>(whole, edges[r], edges[r + 1] - edges[r]);
    ls::data_parallel<mlp, 2, thread_rank, small_buckets> trainer({.learning_rate = 0.1F}, std::move(rank), loss);
    for (const double expected : losses) expect(is_close(step_on(trainer, own), expected, {.relative = 1e-5}));
    expect_close(all_values(trainer.parameters()), all_values(alone.parameters()));
  }));
}

TEST_CASE("a rank that joins takes part in the steps of those that have batches left", "[ranks]") {
  const piece first = drawn<mlp>(6, 16), second = drawn<mlp>(7, 8), third = drawn<mlp>(8, 5);
  ls::data_parallel<mlp, 1> alone(momentum);
  for (const piece* each : {&first, &second, &third}) step_on(alone, *each);

  check_no_failure(run_ranks(3, [&](thread_rank& rank) {
    const int r = rank.rank();
    ls::data_parallel<mlp, 1, thread_rank> trainer(momentum, std::move(rank));
    // The first batch is of all, the second of two, the third of one.
    step_on(trainer, r == 2 ? cut<mlp>(first, 12, 4) : cut<mlp>(first, 6 * r, 6));
    if (r < 2) step_on(trainer, cut<mlp>(second, 4 * r, 4));
    if (r < 1) step_on(trainer, third);
    trainer.join();
    expect(trainer.steps() == 3);
    expect_close(all_values(trainer.parameters()), all_values(alone.parameters()));
    // All are back together.
    step_on(trainer, first);
    trainer.join();
    expect(trainer.steps() == 4);
  }));
}

TEST_CASE("batches that are accumulated on ranks give the step of one large batch", "[ranks]") {
  const piece whole = drawn<mlp>(9, 40);
  ls::data_parallel<mlp, 1> alone(momentum);
  const double loss = step_on(alone, whole);

  check_no_failure(run_ranks(2, [&](thread_rank& rank) {
    const int r = rank.rank();
    ls::data_parallel<mlp, 2, thread_rank, small_buckets> trainer(momentum, std::move(rank));
    // Samples 0-9 and 10-19 are accumulated; 20-29 and 30-39 follow. Dropout is keyed by their place among all 40.
    const piece early = cut<mlp>(whole, 10 * r, 10), late = cut<mlp>(whole, 20 + 10 * r, 10);
    static_cast<void>(trainer.accumulate(batch<mlp>(early.x), early.targets, 40.0));
    expect(trainer.steps() == 0);
    expect(trainer.step(batch<mlp>(late.x), late.targets, 40.0) < loss);
    expect_close(all_values(trainer.parameters()), all_values(alone.parameters()));
    // What was accumulated is used up.
    const piece own = cut<mlp>(whole, 20 * r, 20);
    step_on(trainer, own);
  }));
}

TEST_CASE("hooks that compress gradients train, and leave all ranks with the same bits", "[ranks]") {
  const auto batches = three_batches();
  const double none = std::numeric_limits<double>::infinity();
  const auto exact = train_alone<1>(none, batches);
  const auto compressed = train_on_ranks<2, 2, ls::bf16_hook>(none, batches);
  CHECK_FALSE(same_bits(compressed.parameters, exact.parameters));
  for (std::size_t p = 0; p < exact.parameters.size(); ++p)
    CHECK(relative_difference(compressed.parameters[p], exact.parameters[p]) < 0.01);
}

TEST_CASE("trainers whose models differ refuse to work together", "[ranks]") {
  using other = ls::model<ls::sequential<ls::linear<10>>, ls::input<30>, ls::cross_entropy>;
  const auto messages = run_ranks(2, [&](thread_rank& rank) {
    if (rank.rank() == 0)
      ls::data_parallel<mlp, 1, thread_rank> trainer({}, std::move(rank));
    else
      ls::data_parallel<other, 1, thread_rank> trainer({}, std::move(rank));
  });
  for (const auto& message : messages) CHECK(contains(message, "the same model and buckets on every rank"));
}
