// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include <cmath>
#include <cstdint>
#include <vector>

#include <lockstep/parallel/predictor.hpp>

#include "parallel/reproducible.hpp"
#include "support/queued_backend.hpp"

namespace ls = lockstep;
using namespace lockstep_test;

namespace {

using net = ls::sequential<ls::linear<9>, ls::relu, ls::frozen<ls::linear<9>>,
                           ls::named<"b", ls::skippable<ls::linear<9>>>, ls::linear<5>>;
using model = ls::model<net, ls::input<8>, ls::cross_entropy>;
using exact = ls::reference<double>;
constexpr double decay = 0.75;

/// torch.optim.swa_utils.AveragedModel after each of six steps: a copy of the parameters at first, then
/// average += (1 - decay) * (p - average). The skippable layer is used from the third step on.
template <class Trainer>
void check_averages(Trainer& trainer, double tolerance) {
  using value = typename Trainer::value_type;
  const auto x = draws<value>(1, 24 * 8);
  const auto targets = class_draws(2, 24, 5);
  trainer.initialize(ls::seed{4});
  std::vector<std::vector<value>> expected = all_values(trainer.parameters());
  CHECK(same_bits(all_values(trainer.averages().parameters()), expected));
  for (int step = 0; step < 6; ++step) {
    trainer.skip("b", step < 2);
    static_cast<void>(trainer.step(batch<model>(x), targets));
    std::size_t p = 0;
    for (const auto& parameter : trainer.parameters()) {
      const auto now = parameter.values();
      const bool is_of_b = parameter.name().starts_with("b.");
      const bool begins = step == (is_of_b ? 2 : 0);
      for (std::size_t i = 0; i < now.size(); ++i)
        expected[p][i] = begins ? now[i] : static_cast<value>(expected[p][i] + (1 - decay) * (now[i] - expected[p][i]));
      ++p;
    }
    p = 0;
    for (const auto& average : trainer.averages().parameters())
      CHECK(largest_difference(average.values(), expected[p++]) <= tolerance);
    CHECK(p == expected.size());
  }
}

using averaged_sgd = ls::averaged<ls::sgd>;
using averaged_adamw = ls::averaged<ls::scheduled<ls::adamw, ls::schedule::cosine>>;
const averaged_adamw with_schedule{{ls::adamw{.learning_rate = 0.05, .amsgrad = true}, {.steps = 10}}, decay};

}  // namespace

TEST_CASE("averaged keeps the averages that AveragedModel keeps", "[averaged]") {
  const averaged_sgd plain(ls::sgd{.learning_rate = 0.5}, decay);
  ls::data_parallel<model, 1, exact, averaged_sgd> one(plain);
  check_averages(one, 1e-15);
  ls::data_parallel<model, 3, exact, averaged_sgd> three(plain);
  check_averages(three, 1e-15);
  const averaged_sgd with_momentum(ls::sgd{.learning_rate = 0.5, .momentum = 0.9}, decay);
  ls::data_parallel<model, 2, averaged_sgd> on_cpu(with_momentum);
  check_averages(on_cpu, 1e-6);
  ls::data_parallel<model, 2, averaged_adamw, ls::parameter_groups<ls::no_decay_on_vectors>> scheduled(with_schedule);
  check_averages(scheduled, 1e-6);
  ls::data_parallel<model, 2, averaged_adamw, queued> device(with_schedule);
  check_averages(device, 1e-6);
}

TEST_CASE("averaging changes nothing of the training, and gives the same bits on any number of replicas",
          "[averaged][reproducible]") {
  const auto x = draws<float>(1, 24 * 8);
  const auto targets = class_draws(2, 24, 5);
  const auto run = [&](auto& trainer) {
    trainer.initialize(ls::seed{4});
    for (int step = 0; step < 5; ++step) static_cast<void>(trainer.step(batch<model>(x), targets));
    return all_values(trainer.parameters());
  };
  ls::data_parallel<model, 1, ls::scheduled<ls::adamw, ls::schedule::cosine>, ls::reduce::reproducible> plain(
      with_schedule.optimizer);
  ls::data_parallel<model, 1, averaged_adamw, ls::reduce::reproducible> one(with_schedule);
  ls::data_parallel<model, 4, averaged_adamw, ls::reduce::reproducible> four(with_schedule);
  const auto parameters = run(plain);
  CHECK(same_bits(run(one), parameters));
  CHECK(same_bits(run(four), parameters));
  CHECK(same_bits(all_values(four.averages().parameters()), all_values(one.averages().parameters())));
}

TEST_CASE("a predictor takes the averages", "[averaged]") {
  ls::data_parallel<model, 2, averaged_adamw> trainer(with_schedule);
  const auto x = draws<float>(1, 24 * 8);
  for (int step = 0; step < 3; ++step) static_cast<void>(trainer.step(batch<model>(x), class_draws(2, 24, 5)));
  ls::predictor<model, 1> predictor(trainer.averages());
  CHECK(same_bits(all_values(predictor.parameters()), all_values(trainer.averages().parameters())));
  CHECK_FALSE(same_bits(all_values(predictor.parameters()), all_values(trainer.parameters())));
}

TEST_CASE("averaged names a decay that is out of its domain", "[averaged]") {
  CHECK_THROWS_WITH(averaged_sgd(ls::sgd{}, 1.5).check_options(),
                    "lockstep: averaged: expected a decay from zero to one, got 1.5");
  CHECK_NOTHROW(averaged_sgd(ls::sgd{}, 1).check_options());
  CHECK_THROWS_WITH(averaged_sgd(ls::sgd{.momentum = -1}).check_options(),
                    "lockstep: sgd: expected a momentum of zero or more, got -1");
}
