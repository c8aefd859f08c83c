// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include <lockstep/optim/muon.hpp>

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "io/io_support.hpp"
#include "parallel/rank_support.hpp"

namespace ls = lockstep;
using namespace lockstep_test;

namespace {

using net = ls::sequential<ls::linear<64>, ls::relu, ls::named<"b", ls::skippable<ls::linear<64>>>, ls::linear<48>,
                           ls::relu, ls::frozen<ls::linear<20>>, ls::named<"head", ls::linear<5>>>;
using ls::comm::thread_rank;
using model = ls::model<net, ls::input<33>, ls::cross_entropy>;
const ls::muon optimizer{.learning_rate = 0.03, .rest = {.learning_rate = 0.01}};

/// The parameters after six steps, of which the second and third skip a layer.
template <class Trainer>
auto train(Trainer& trainer) {
  trainer.initialize(ls::seed{4});
  for (std::uint64_t step = 0; step < 6; ++step) {
    trainer.skip("b", step == 1 || step == 2);
    static_cast<void>(step_on(trainer, drawn<model>(step, 24)));
  }
  return all_values(trainer.parameters());
}

struct half_rate {
  double operator()(std::int64_t) const { return 0.5; }
};

}  // namespace

TEST_CASE("muon gives the same bits on any number of replicas", "[muon][reproducible]") {
  ls::data_parallel<model, 1, ls::muon, ls::reduce::reproducible> one(optimizer);
  ls::data_parallel<model, 2, ls::muon, ls::reduce::reproducible> two(optimizer);
  ls::data_parallel<model, 4, ls::muon, ls::reduce::reproducible> four(optimizer);
  ls::data_parallel<model, 8, ls::muon, ls::reduce::reproducible> eight(optimizer);
  const auto expected = train(one);
  CHECK(same_bits(train(two), expected));
  CHECK(same_bits(train(four), expected));
  CHECK(same_bits(train(eight), expected));
  // And clipped, where the sums come first.
  const ls::trainer_options clipped{.max_norm = 0.5, .max_value = 0.01};
  ls::data_parallel<model, 1, ls::muon, ls::reduce::reproducible> one_clipped(optimizer, {}, clipped);
  ls::data_parallel<model, 4, ls::muon, ls::reduce::reproducible> four_clipped(optimizer, {}, clipped);
  const auto expected_clipped = train(one_clipped);
  CHECK(same_bits(train(four_clipped), expected_clipped));
  CHECK_FALSE(same_bits(expected_clipped, expected));
}

TEST_CASE("muon adds the gradients of accumulated batches before it looks at a matrix", "[muon]") {
  const piece whole = drawn<model>(7, 24);
  ls::data_parallel<model, 2, ls::muon> at_once(optimizer);
  ls::data_parallel<model, 3, ls::muon> in_parts(optimizer);
  for (int step = 0; step < 3; ++step) {
    static_cast<void>(step_on(at_once, whole));
    const piece first = cut<model>(whole, 0, 10), second = cut<model>(whole, 10, 14);
    static_cast<void>(in_parts.accumulate(batch<model>(first.x), first.targets, 24));
    static_cast<void>(in_parts.step(batch<model>(second.x), second.targets, 24));
  }
  const auto expected = all_values(at_once.parameters());
  const auto given = all_values(in_parts.parameters());
  for (std::size_t p = 0; p < expected.size(); ++p) CHECK(largest_difference(given[p], expected[p]) <= 1e-4);
}

TEST_CASE("muon on ranks trains as on replicas", "[muon][ranks]") {
  ls::data_parallel<model, 4, ls::muon, ls::reduce::reproducible> alone(optimizer);
  alone.initialize(ls::seed{4});
  for (std::uint64_t step = 0; step < 3; ++step) static_cast<void>(step_on(alone, drawn<model>(step, 24)));
  check_no_failure(run_ranks(2, [&](thread_rank& rank) {
    const int r = rank.rank();
    ls::data_parallel<model, 2, ls::muon, thread_rank> trainer(optimizer, std::move(rank));
    trainer.initialize(ls::seed{4});
    for (std::uint64_t step = 0; step < 3; ++step)
      static_cast<void>(step_on(trainer, cut<model>(drawn<model>(step, 24), 12 * r, 12)));
    const auto given = all_values(trainer.parameters());
    const auto expected = all_values(alone.parameters());
    for (std::size_t p = 0; p < expected.size(); ++p)
      expect(largest_difference(given[p], expected[p]) <= 1e-4, "parameter " + std::to_string(p));
  }));
}

TEST_CASE("a schedule multiplies the learning rates of both of muon's optimizers", "[muon]") {
  using scheduled = ls::scheduled<ls::muon, half_rate>;
  ls::data_parallel<model, 2, scheduled, ls::reduce::reproducible> with_schedule(scheduled{optimizer, half_rate{}});
  ls::muon by_hand = optimizer;
  by_hand.learning_rate *= 0.5;
  by_hand.rest.learning_rate *= 0.5;
  ls::data_parallel<model, 2, ls::muon, ls::reduce::reproducible> without(by_hand);
  CHECK(same_bits(train(with_schedule), train(without)));
}

TEST_CASE("averages of matrices are those of all other parameters", "[muon][averaged]") {
  constexpr double decay = 0.75;
  using averaged = ls::averaged<ls::scheduled<ls::muon, half_rate>>;
  ls::data_parallel<model, 2, averaged> trainer(averaged{{optimizer, half_rate{}}, decay});
  trainer.initialize(ls::seed{4});
  std::vector<std::vector<float>> expected;
  for (std::uint64_t step = 0; step < 4; ++step) {
    static_cast<void>(step_on(trainer, drawn<model>(step, 24)));
    const auto now = all_values(trainer.parameters());
    if (step == 0) expected = now;
    for (std::size_t p = 0; p < now.size(); ++p)
      for (std::size_t i = 0; i < now[p].size(); ++i)
        expected[p][i] = static_cast<float>(expected[p][i] + (1 - decay) * (now[p][i] - expected[p][i]));
  }
  const auto averages = all_values(trainer.averages().parameters());
  REQUIRE(averages.size() == expected.size());
  for (std::size_t p = 0; p < averages.size(); ++p) CHECK(largest_difference(averages[p], expected[p]) <= 1e-6);
  CHECK_FALSE(same_bits(averages, all_values(trainer.parameters())));
}

TEST_CASE("training with muon goes on from a checkpoint with the same bits", "[muon]") {
  const temporary_folder folder;
  const std::string path = folder / "state";
  ls::data_parallel<model, 2, ls::muon> straight(optimizer);
  static_cast<void>(train(straight));
  ls::save_checkpoint(straight, path);
  ls::data_parallel<model, 2, ls::muon> resumed(optimizer);
  ls::load_checkpoint(resumed, path);
  for (std::uint64_t step = 6; step < 9; ++step) {
    static_cast<void>(step_on(straight, drawn<model>(step, 24)));
    static_cast<void>(step_on(resumed, drawn<model>(step, 24)));
  }
  CHECK(same_bits(all_values(resumed.parameters()), all_values(straight.parameters())));
}

TEST_CASE("muon names an option that is out of its domain", "[muon]") {
  CHECK_THROWS_WITH(ls::muon{.momentum = -1}.check_options(),
                    "lockstep: muon: expected a momentum of zero or more, got -1");
  CHECK_THROWS_WITH(ls::muon{.iterations = 100}.check_options(),
                    "lockstep: muon: expected from 0 to 99 iterations, got 100");
  CHECK_THROWS_WITH(ls::muon{.learning_rate = -1}.check_options(),
                    "lockstep: muon: expected a learning_rate of zero or more, got -1");
  CHECK_THROWS_WITH(ls::muon{.rest = {.eps = -1}}.check_options(),
                    "lockstep: adamw: expected an eps of zero or more, got -1");
}
