// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include <cstddef>
#include <cstdint>
#include <type_traits>
#include <vector>

#include <lockstep/cpu_bf16.hpp>
#include <lockstep/parallel/predictor.hpp>

#include "parallel/parallel_support.hpp"
#include "parallel/reproducible.hpp"
#include "support/catch.hpp"
#include "support/difference.hpp"

/// \file
/// Trainers on the CPU whose passes compute in bfloat16 between parameters and gradients of float32.

namespace ls = lockstep;
using namespace lockstep_test;

namespace {

using floats = std::vector<float>;

template <class Model, int N, class... Policies>
using trainer_of = ls::data_parallel<Model, N, ls::precision::bf16, Policies...>;

/// What needs statistics of the whole batch, sums of branches, and poolings of both kinds.
using unit = ls::sequential<ls::conv2d<16, 3, ls::padding<1>, ls::no_bias>, ls::batch_norm2d<>, ls::relu,
                            ls::conv2d<16, 3, ls::padding<1>, ls::no_bias>, ls::batch_norm2d<>>;
using pictures = ls::model<
    ls::sequential<ls::conv2d<16, 3, ls::padding<1>, ls::no_bias>, ls::batch_norm2d<>, ls::relu, ls::residual<unit>,
                   ls::relu, ls::max_pool2d<2>, ls::avg_pool2d<2>, ls::flatten, ls::linear<5>>,
    ls::input<3, 8, 8>, ls::cross_entropy>;

struct result {
  std::vector<double> losses;
  std::vector<floats> first_gradients, parameters;
  floats outputs;
};

/// Steps on one batch.
template <class Trainer>
result train(int steps) {
  using model = typename Trainer::model_type;
  constexpr std::int64_t samples = 24;
  Trainer trainer(ls::sgd{.learning_rate = 0.02F, .momentum = 0.9F});
  trainer.initialize(ls::seed{7});
  const floats x = draws<float>(1, samples * model::input_dims.size());
  const auto targets = class_draws(2, samples, 5);
  result r;
  for (int i = 0; i < steps; ++i) {
    r.losses.push_back(trainer.step(batch<model>(x), targets));
    if (i == 0) r.first_gradients = all_values(trainer.gradients());
  }
  r.parameters = all_values(trainer.parameters());
  const auto y = trainer.forward(batch<model>(x));
  r.outputs.assign(y.begin(), y.end());
  return r;
}

void check_close(const result& given, const result& expected, double tolerance) {
  CHECK(relative_difference(given.losses, expected.losses) <= tolerance);
  REQUIRE(given.first_gradients.size() == expected.first_gradients.size());
  for (std::size_t p = 0; p < given.first_gradients.size(); ++p)
    CHECK(relative_difference(given.first_gradients[p], expected.first_gradients[p]) <= tolerance);
  CHECK(relative_difference(given.outputs, expected.outputs) <= tolerance);
}

void check_same_bits(const result& given, const result& expected) {
  CHECK(same_bits(given.losses, expected.losses));
  CHECK(same_bits(given.first_gradients, expected.first_gradients));
  CHECK(same_bits(given.parameters, expected.parameters));
  CHECK(same_bits(given.outputs, expected.outputs));
}

}  // namespace

TEST_CASE("a trainer in bfloat16 on the CPU is one of the backend that computes in it", "[data_parallel][bf16]") {
  STATIC_REQUIRE(std::is_same_v<trainer_of<pictures, 2>::backend_type, ls::cpu_bf16>);
  STATIC_REQUIRE(std::is_same_v<trainer_of<pictures, 2, ls::convolution::direct>::backend_type, ls::cpu_bf16>);
  STATIC_REQUIRE(std::is_same_v<trainer_of<pictures, 2>::value_type, float>);
  STATIC_REQUIRE(sizeof(ls::cpu_bf16::activation_type) == 2);
}

TEST_CASE("in bfloat16 on the CPU, the first steps are those of float32 within its rounding", "[data_parallel][bf16]") {
  if (!ls::cpu_backend::bf16::is_supported()) LOCKSTEP_SKIP("this machine has no AVX512_BF16");
  const result exact = train<ls::data_parallel<pictures, 1>>(5);
  const result one = train<trainer_of<pictures, 1>>(5);
  CHECK(relative_difference(one.losses, exact.losses) <= 2e-2);
  CHECK(relative_difference(one.outputs, exact.outputs) <= 5e-2);
}

TEST_CASE("in bfloat16 on the CPU, replicas train as one", "[data_parallel][bf16]") {
  if (!ls::cpu_backend::bf16::is_supported()) LOCKSTEP_SKIP("this machine has no AVX512_BF16");
  const result one = train<trainer_of<pictures, 1>>(5);
  check_close(train<trainer_of<pictures, 2>>(5), one, 2e-2);
  check_close(train<trainer_of<pictures, 3>>(5), one, 2e-2);
  check_same_bits(train<trainer_of<pictures, 2>>(5), train<trainer_of<pictures, 2>>(5));
}

TEST_CASE("in bfloat16 on the CPU, reproducible sums have the same bits for any number of replicas",
          "[data_parallel][bf16]") {
  if (!ls::cpu_backend::bf16::is_supported()) LOCKSTEP_SKIP("this machine has no AVX512_BF16");
  using ls::reduce::reproducible;
  const result one = train<trainer_of<pictures, 1, reproducible>>(8);
  check_same_bits(train<trainer_of<pictures, 2, reproducible>>(8), one);
  check_same_bits(train<trainer_of<pictures, 4, reproducible>>(8), one);
}

TEST_CASE("a predictor in bfloat16 on the CPU answers as the trainer does", "[predictor][bf16]") {
  if (!ls::cpu_backend::bf16::is_supported()) LOCKSTEP_SKIP("this machine has no AVX512_BF16");
  trainer_of<pictures, 2> trainer;
  trainer.initialize(ls::seed{5});
  ls::predictor<pictures, 2, ls::cpu_bf16> server(trainer);
  for (const std::int64_t samples : {1, 5, 32}) {
    const floats x = draws<float>(71, samples * pictures::input_dims.size());
    const auto expected = trainer.forward(batch<pictures>(x));
    const auto given = server.predict(batch<pictures>(x));
    CHECK(relative_difference(floats(given.begin(), given.end()), floats(expected.begin(), expected.end())) <= 2e-2);
  }
}
