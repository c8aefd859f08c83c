// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include <cmath>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "parallel/reproducible.hpp"
#include "support/queued_backend.hpp"

namespace ls = lockstep;
using namespace lockstep_test;

namespace {

using net =
    ls::sequential<ls::named<"body", ls::linear<96>>, ls::relu, ls::frozen<ls::linear<96>>, ls::relu,
                   ls::named<"skipped", ls::skippable<ls::linear<96>>>, ls::relu, ls::named<"head", ls::linear<10>>>;
using mlp = ls::model<net, ls::input<130>, ls::cross_entropy>;
using plain_net = ls::sequential<ls::named<"body", ls::linear<9>>, ls::relu, ls::named<"head", ls::linear<5>>>;
using plain = ls::model<plain_net, ls::input<8>, ls::cross_entropy>;

using by_parts = ls::parameter_groups<ls::no_decay_on_vectors,
                                      ls::parameter_group<ls::like<"head.*">, ls::learning_rate_times<1, 2>>>;

template <int N, class Optimizer, class... Policies>
std::vector<std::vector<float>> train(const Optimizer& optimizer) {
  ls::data_parallel<mlp, N, Optimizer, ls::reduce::reproducible, by_parts, Policies...> trainer(optimizer);
  trainer.initialize(ls::seed{7});
  const auto x = draws<float>(1, 40 * 130);
  const auto targets = class_draws(2, 40, 10);
  for (int step = 0; step < 6; ++step) {
    trainer.skip("skipped", step < 2);
    static_cast<void>(trainer.step(batch<mlp>(x), targets));
  }
  return all_values(trainer.parameters());
}

template <class Optimizer>
void check_equal_bits(const Optimizer& optimizer) {
  const auto one = train<1>(optimizer);
  CHECK(same_bits(train<2>(optimizer), one));
  CHECK(same_bits(train<8>(optimizer), one));
  CHECK(same_bits(train<2, Optimizer, queued>(optimizer), one));
}

}  // namespace

TEST_CASE("groups train to the same bits on any number of replicas, with skipped and frozen layers", "[groups]") {
  check_equal_bits(ls::adamw{.learning_rate = 0.01, .weight_decay = 0.5});
  check_equal_bits(ls::scheduled{ls::sgd{.learning_rate = 0.1, .momentum = 0.9, .weight_decay = 0.1},
                                 ls::schedule::cosine{.steps = 10}});
}

TEST_CASE("each group has its own learning rate and weight decay", "[groups]") {
  using exact = ls::reference<double>;
  const auto x = draws<double>(1, 24 * 8);
  const auto targets = class_draws(2, 24, 5);
  const auto check = [&]<int N> {
    ls::data_parallel<plain, N, exact, by_parts> trainer({.learning_rate = 0.5, .weight_decay = 0.25});
    trainer.initialize(ls::seed{1});
    const auto before = all_values(trainer.parameters());
    static_cast<void>(trainer.step(batch<plain>(x), targets));
    const auto gradients = all_values(trainer.gradients());
    std::size_t p = 0;
    for (const auto& parameter : trainer.parameters()) {
      const std::string_view name = parameter.name();
      CAPTURE(std::string(name));
      const double rate = name.starts_with("head.") ? 0.25 : 0.5;
      const double decay = name.ends_with(".bias") ? 0 : 0.25;
      const auto after = parameter.values();
      for (std::size_t i = 0; i < after.size(); ++i)
        CHECK(std::abs(before[p][i] - rate * (gradients[p][i] + decay * before[p][i]) - after[i]) <= 1e-14);
      ++p;
    }
    CHECK(p == 4);
  };
  check.operator()<1>();
  check.operator()<3>();
}

TEST_CASE("a user's own predicate sorts parameters", "[groups]") {
  struct wide {
    static constexpr bool takes(std::string_view, const ls::dims& shape) { return shape.rank == 2 && shape[1] > 8; }
  };
  // The weight of the head alone has more than eight inputs.
  ls::data_parallel<plain, 1, ls::parameter_groups<ls::parameter_group<wide, ls::learning_rate_times<0>>>> trainer(
      {.learning_rate = 0.5});
  const auto before = all_values(trainer.parameters());
  const auto x = draws<float>(1, 24 * 8);
  static_cast<void>(trainer.step(batch<plain>(x), class_draws(2, 24, 5)));
  const auto after = all_values(trainer.parameters());
  CHECK(after[2] == before[2]);
  for (const std::size_t p : {0U, 1U, 3U}) CHECK(after[p] != before[p]);
}
