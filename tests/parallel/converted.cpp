// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <type_traits>
#include <vector>

#include "parallel/one_device.hpp"
#include "parallel/predictor_support.hpp"

/// \file
/// Trainers whose passes compute in other elements than parameters are kept in, on a backend of the host: float between
/// double and double.

namespace ls = lockstep;
using namespace lockstep_test;

namespace {

using narrow = ls::reference<double, float>;
/// A backend whose bfloat16 is float.
struct wide : ls::reference<double> {
  using in_bf16 = narrow;
};

template <int N>
using trainer_of = ls::data_parallel<small_classifier, N, wide, ls::precision::bf16>;

}  // namespace

TEST_CASE("precision::bf16 takes the backend that computes in it", "[data_parallel]") {
  STATIC_REQUIRE(std::is_same_v<trainer_of<2>::backend_type, narrow>);
  STATIC_REQUIRE(std::is_same_v<ls::data_parallel<small_classifier, 2, wide>::backend_type, wide>);
}

TEST_CASE("in converted elements, a step of N replicas is the step of one device", "[data_parallel]") {
  check_classification<small_classifier, narrow, 1, 2, 3, 4>();
  check_regression<small_regression, narrow, 1, 2, 4>();
}

TEST_CASE("converted elements leave outputs, evaluations and predictions as they are", "[data_parallel][predictor]") {
  constexpr std::int64_t samples = 37;
  const auto x = draws<double>(61, samples * small_classifier::input_dims.size());
  const auto targets = class_draws(62, samples, 5);
  ls::data_parallel<small_classifier, 3, ls::reference<double>> exact;
  trainer_of<3> converted;
  exact.initialize(ls::seed{6});
  converted.initialize(ls::seed{6});

  const auto close = [](double given, double expected) { return is_close(given, expected, {.relative = 1e-5}); };
  const auto wanted = vector_of(exact.forward(batch<small_classifier>(x)));
  const auto given = vector_of(converted.forward(batch<small_classifier>(x)));
  CHECK(given != wanted);
  CHECK(relative_difference(given, wanted) <= 1e-5);
  const ls::evaluation score = converted.evaluate(batch<small_classifier>(x), targets);
  CHECK(close(score.loss(), exact.evaluate(batch<small_classifier>(x), targets).loss()));
  CHECK(score.counted == samples);
  CHECK(close(converted.step(batch<small_classifier>(x), targets), score.loss()));

  // What was learnt in one is kept in the other, and served as by the trainer.
  ls::predictor<small_classifier, 2, narrow> server(converted);
  CHECK(vector_of(server.predict(batch<small_classifier>(x))) ==
        vector_of(converted.forward(batch<small_classifier>(x))));
}

TEST_CASE("in converted elements, reproducible sums have the same bits for any number of replicas", "[data_parallel]") {
  constexpr std::int64_t samples = 21;
  const auto x = draws<double>(63, samples * small_classifier::input_dims.size());
  const auto targets = class_draws(64, samples, 5);
  const auto trained = [&]<int N> {
    ls::data_parallel<small_classifier, N, narrow, ls::reduce::reproducible> trainer({.learning_rate = step_size});
    trainer.initialize(step_seed);
    for (int i = 0; i < 3; ++i) trainer.step(batch<small_classifier>(x), targets);
    return all_values(trainer.parameters());
  };
  const auto one = trained.operator()<1>();
  CHECK(trained.operator()<2>() == one);
  CHECK(trained.operator()<4>() == one);
}
