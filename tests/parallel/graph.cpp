// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include <array>
#include <cstddef>
#include <cstdint>
#include <utility>
#include <vector>

#include "parallel/branch_networks.hpp"
#include "parallel/one_device.hpp"
#include "parallel/rank_support.hpp"

// Networks with branches and tied layers, which replicas and ranks train as any other.

namespace ls = lockstep;
using namespace lockstep_test;
using ls::comm::thread_rank;

namespace {

/// One step, held against a single executor. 61 and 5 samples leave shards uneven, and some of them empty.
template <class Model, class B>
void check_one_device() {
  using value = typename B::value_type;
  std::uint64_t stream = 500;
  for (const std::int64_t samples : {61, 5}) {
    const auto x = draws<value>(stream++, samples * Model::input_dims.size());
    const auto targets = class_draws(stream++, samples, 5);
    const auto expected = step_on_one_device<Model, B>({}, x, targets, static_cast<double>(samples));
    const auto check = [&]<int N> {
      INFO(samples << " samples, " << N << " replicas");
      check_same_step(step_on_replicas<Model, B, N>({}, x, targets), expected);
    };
    check.template operator()<1>();
    check.template operator()<2>();
    check.template operator()<3>();
    check.template operator()<4>();
    check.template operator()<8>();
  }
}

/// Two ranks of two replicas each, with unequal parts of every batch, held against one replica of one process.
template <class Model>
void check_ranks() {
  constexpr ls::sgd momentum{.learning_rate = 0.0625F, .momentum = 0.9F};
  const std::vector<piece> batches{drawn<Model>(1, 61), drawn<Model>(2, 5), drawn<Model>(3, 16)};
  const std::vector<std::int64_t> first_parts{30, 1, 8};

  ls::data_parallel<Model, 1> alone(momentum);
  alone.initialize(ls::seed{7});
  std::vector<double> losses;
  for (const piece& whole : batches) losses.push_back(step_on(alone, whole));
  const auto expected = all_values(alone.parameters());

  check_no_failure(run_ranks(2, [&](thread_rank& rank) {
    const bool first = rank.rank() == 0;
    ls::data_parallel<Model, 2, thread_rank, ls::bucket_bytes<256>> trainer(momentum, std::move(rank));
    trainer.initialize(ls::seed{7});
    for (std::size_t i = 0; i < batches.size(); ++i) {
      const auto count = static_cast<std::int64_t>(batches[i].targets.size());
      const std::int64_t part = first_parts[i];
      const double loss =
          step_on(trainer, first ? cut<Model>(batches[i], 0, part) : cut<Model>(batches[i], part, count - part));
      expect(is_close(loss, losses[i], {.relative = 1e-5}), "the loss");
    }
    expect_close(all_values(trainer.parameters()), expected);
  }));
}

template <class Model>
void check_bits() {
  check_replicas_agree<Model>({.learning_rate = 0.05F, .momentum = 0.9F, .weight_decay = 1e-4F}, 1.0,
                              std::array<std::int64_t, 3>{64, 61, 5});
}

}  // namespace

TEST_CASE("a step of N replicas is the step of one device: branches", "[data_parallel][graph]") {
  SECTION("residual") { check_one_device<residual_classifier, ls::cpu>(); }
  SECTION("concat") { check_one_device<unet_classifier, ls::cpu>(); }
  SECTION("tied") { check_one_device<tied_classifier, ls::cpu>(); }
  SECTION("tied, in double") { check_one_device<tied_classifier, ls::reference<double>>(); }
}

TEST_CASE("ranks of replicas give the results of one process: branches", "[ranks][graph]") {
  SECTION("residual") { check_ranks<residual_classifier>(); }
  SECTION("concat") { check_ranks<unet_classifier>(); }
  SECTION("tied") { check_ranks<tied_classifier>(); }
}

TEST_CASE("networks with branches train to the same bits on 1, 2, 4 and 8 replicas", "[reproducible][graph]") {
  SECTION("residual") { check_bits<residual_classifier>(); }
  SECTION("concat") { check_bits<unet_classifier>(); }
  SECTION("tied") { check_bits<tied_classifier>(); }
}
