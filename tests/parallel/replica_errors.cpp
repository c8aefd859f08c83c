// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include <algorithm>
#include <cmath>
#include <cstdint>
#include <stdexcept>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include "parallel/parallel_support.hpp"
#include "parallel/trap.hpp"
#include "support/gate.hpp"

namespace ls = lockstep;
using namespace lockstep_test;

namespace {

template <class Model, int N, class Trainer = ls::data_parallel<Model, N>>
void check_failure(std::int64_t failing_sample, int failing_replica) {
  INFO(N << " replicas, sample " << failing_sample);
  const auto good = draws<float>(1, 10 * 5);
  auto bad = good;
  bad[static_cast<std::size_t>(failing_sample) * 5] = marker;
  const auto targets = class_draws(2, 10, 3);
  const ls::sgd optimizer{.learning_rate = 0.1F, .momentum = 0.9F};

  Trainer trainer(optimizer);
  Trainer fresh(optimizer);
  for (Trainer* each : {&trainer, &fresh}) {
    make_trap_certain(*each);
    static_cast<void>(each->step(batch<Model>(good), targets));
  }
  const auto before = all_values(trainer.parameters());

  bool caught = false;
  try {
    static_cast<void>(trainer.step(batch<Model>(bad), targets));
  } catch (const ls::replica_error& error) {
    caught = true;
    CHECK(error.replica() == failing_replica);
    CHECK_THAT(error.what(),
               Catch::Contains("replica " + std::to_string(failing_replica)) && Catch::Contains("a value above 500"));
    CHECK_THROWS_AS(std::rethrow_if_nested(error), std::out_of_range);
  }
  CHECK(caught);
  CHECK(trainer.steps() == 1);
  CHECK(all_values(trainer.parameters()) == before);

  // As if the failed step had never been.
  CHECK(trainer.step(batch<Model>(good), targets) == fresh.step(batch<Model>(good), targets));
  CHECK(all_values(trainer.parameters()) == all_values(fresh.parameters()));
  CHECK(trainer.steps() == 2);
}

}  // namespace

TEST_CASE("an exception in one replica's forward leaves parameters and object as they were", "[data_parallel]") {
  check_failure<trapped<pass_kind::forward>, 1>(4, 0);
  check_failure<trapped<pass_kind::forward>, 4>(0, 0);
  check_failure<trapped<pass_kind::forward>, 4>(5, 1);
  check_failure<trapped<pass_kind::forward>, 4>(9, 3);
}

TEST_CASE("an exception in one replica's backward leaves parameters and object as they were", "[data_parallel]") {
  check_failure<trapped<pass_kind::backward>, 1>(4, 0);
  check_failure<trapped<pass_kind::backward>, 4>(7, 2);
}

TEST_CASE("forward and evaluate name the failing replica too", "[data_parallel]") {
  using model = trapped<pass_kind::forward>;
  ls::data_parallel<model, 4> trainer;
  auto weight = trainer.parameters().at("0.weight");
  weight.assign(std::vector<float>(20, 1.F));
  auto x = draws<float>(1, 10 * 5);
  const auto targets = class_draws(2, 10, 3);
  const auto expected = trainer.evaluate(batch<model>(x), targets).loss();
  const float kept = x[8 * 5];
  x[8 * 5] = marker;
  CHECK_THROWS_WITH(trainer.forward(batch<model>(x)), Catch::Contains("replica 3"));
  CHECK_THROWS_AS(trainer.evaluate(batch<model>(x), targets), ls::replica_error);
  x[8 * 5] = kept;
  CHECK(trainer.evaluate(batch<model>(x), targets).loss() == expected);
}

TEST_CASE("a second thread is refused while one is inside", "[data_parallel]") {
  using model = ls::model<ls::sequential<gate, ls::linear<3>>, ls::input<4>, ls::cross_entropy>;
  ls::data_parallel<model, 2> trainer;
  const auto x = draws<float>(1, 6 * 4);
  const auto targets = class_draws(2, 6, 3);
  const shut_gate gate_is_shut;
  double loss = 0;
  std::thread first([&] { loss = trainer.step(batch<model>(x), targets); });
  shut_gate::await(2);  // both replicas
  CHECK_THROWS_AS(trainer.step(batch<model>(x), targets), ls::value_error);
  CHECK_THROWS_WITH(trainer.forward(batch<model>(x)), Catch::Contains("one thread at a time"));
  CHECK_THROWS_AS(trainer.evaluate(batch<model>(x), targets), ls::value_error);
  CHECK_THROWS_AS(trainer.initialize(ls::seed{1}), ls::value_error);
  shut_gate::open();
  first.join();
  CHECK(loss > 0);
  CHECK(trainer.steps() == 1);
  CHECK(std::isfinite(trainer.step(batch<model>(x), targets)));
}
