// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include <cstddef>
#include <cstdint>
#include <string>
#include <type_traits>
#include <vector>

#include <lockstep/backend/cuda/cuda.hpp>
#include <lockstep/core/config.hpp>
#include <lockstep/optim/sgd.hpp>
#include <lockstep/parallel/data_parallel.hpp>
#include <lockstep/parallel/precision.hpp>
#include <lockstep/parallel/predictor.hpp>

#include "device.hpp"
#include "expected.hpp"
#include "golden/golden.hpp"
#include "training.hpp"

/// \file
/// Passes in bfloat16 between parameters and gradients of float32.

using namespace lockstep_test;

namespace {

template <int N>
using trainer_of = ls::data_parallel<classifier, N, ls::cuda, ls::precision::bf16>;
template <int N>
using reproducible_of = ls::data_parallel<classifier, N, ls::cuda, ls::precision::bf16, ls::reduce::reproducible>;

const ls::trainer_options plain{};

/// Of the 8 bits of a number what some roundings and 22 steps leave.
constexpr double of_rounding = 1e-1;
/// Of the same numbers added in another order.
constexpr double in_another_order = 2e-2;

trained train_on(std::vector<int> devices) {
  ls::trainer_options options;
  options.devices = std::move(devices);
  return train_classifier<trainer_of<2>>(with_momentum, options);
}

/// What a run has led to. Not its last gradients: by then 8 bits have decided some relus of so small a network
/// otherwise.
void check_alike(const trained& given, const trained& expected, double tolerance) {
  CHECK(same_bits(given.initial, expected.initial));
  CHECK(relative_difference(given.losses, expected.losses) <= tolerance);
  check_close(given.parameters, expected.parameters, tolerance);
  check_close(given.outputs, expected.outputs, tolerance);
  CHECK(given.evaluated == Approx(expected.evaluated).epsilon(tolerance));
}

}  // namespace

TEST_CASE("a trainer in bfloat16 is one of the backend that computes in it", "[host]") {
  STATIC_REQUIRE(std::is_same_v<trainer_of<2>::backend_type, ls::cuda_bf16>);
  STATIC_REQUIRE(std::is_same_v<trainer_of<2>::value_type, float>);
  // Half the bytes: of the arena, not of what is learnt.
  STATIC_REQUIRE(sizeof(ls::cuda_bf16::activation_type) == 2);
  STATIC_REQUIRE(classifier::plan<ls::cuda_bf16>.nodes[0].converts);
  STATIC_REQUIRE_FALSE(classifier::plan<ls::cuda>.nodes[0].converts);
}

TEST_CASE("in bfloat16, replicas on a device train as on the CPU within its rounding", "[trainer][bf16]") {
  LOCKSTEP_NEEDS_DEVICE();
  const trained one = train_classifier<trainer_of<1>>(with_momentum, plain);
  check_alike(one, expected_classifier(with_momentum, plain), of_rounding);
  check_alike(train_classifier<trainer_of<2>>(with_momentum, plain), one, in_another_order);
  check_alike(train_classifier<trainer_of<4>>(with_momentum, plain), one, in_another_order);
  check_same_bits(train_classifier<trainer_of<2>>(with_momentum, plain),
                  train_classifier<trainer_of<2>>(with_momentum, plain));
}

TEST_CASE("in bfloat16, reproducible sums have the same bits for any number of replicas", "[trainer][bf16]") {
  LOCKSTEP_NEEDS_DEVICE();
  const trained one = train_classifier<reproducible_of<1>>(with_momentum, plain);
  check_same_bits(train_classifier<reproducible_of<2>>(with_momentum, plain), one);
  check_same_bits(train_classifier<reproducible_of<4>>(with_momentum, plain), one);
}

#if LOCKSTEP_HAS_NCCL()

TEST_CASE("in bfloat16, replicas on two devices train as on one", "[trainer][bf16]") {
  LOCKSTEP_NEEDS_DEVICES(2);
  check_alike(train_on({0, 1}), train_on({0}), in_another_order);
}

#endif

TEST_CASE("a regression with frozen layers trains in bfloat16", "[trainer][bf16]") {
  LOCKSTEP_NEEDS_DEVICE();
  using trainer = ls::data_parallel<regression, 2, ls::cuda, ls::precision::bf16>;
  check_close(train_regression<trainer>(with_momentum, plain), expected_regression(with_momentum, plain), of_rounding);
}

TEST_CASE("a predictor in bfloat16 answers as the trainer does", "[predictor][bf16]") {
  LOCKSTEP_NEEDS_DEVICE();
  trainer_of<2> trainer;
  trainer.initialize(ls::seed{5});
  ls::predictor<classifier, 2, ls::cuda_bf16> server(trainer);
  for (const std::int64_t samples : {1, 5, 32}) {
    const floats x = draws(71, samples * classifier::input_dims.size());
    const auto expected = trainer.forward(batch<classifier>(x));
    const auto given = server.predict(batch<classifier>(x));
    CHECK(relative_difference(floats(given.begin(), given.end()), floats(expected.begin(), expected.end())) <=
          in_another_order);
  }
}

TEST_CASE("no factors are rounded where they are of bfloat16", "[trainer][bf16]") {
  LOCKSTEP_NEEDS_DEVICE();
  CHECK_THROWS_WITH(trainer_of<1>({}, {}, {.rounding = ls::factor_rounding::tf32}),
                    Catch::Contains("no rounding of factors on the cuda bf16 backend"));
}

namespace {

/// 20 steps under PyTorch's autocast, whose sums are added in another order, and rounded so; the difference of two
/// numbers that round alike is a part of their last bit.
template <class Model>
void check_autocast(const std::string& name, const ls::sgd& optimizer) {
  const auto golden = golden_file(name + "_bf16");
  check_golden_batch<ls::data_parallel<Model, 1, ls::cuda, ls::precision::bf16>>(golden, name + "/b64", 64, optimizer,
                                                                                 in_another_order);
  check_golden_batch<ls::data_parallel<Model, 2, ls::cuda, ls::precision::bf16>>(golden, name + "/b64", 64, optimizer,
                                                                                 in_another_order);
}

}  // namespace

TEST_CASE("linear in bfloat16 trains as under PyTorch's autocast", "[golden][bf16]") {
  LOCKSTEP_NEEDS_DEVICE();
  check_autocast<golden_linear>("linear", {.learning_rate = 0.01F});
}

TEST_CASE("cnn in bfloat16 trains as under PyTorch's autocast", "[golden][bf16]") {
  LOCKSTEP_NEEDS_DEVICE();
  check_autocast<golden_cnn>("cnn", {.learning_rate = 0.01F});
}

TEST_CASE("mlp in bfloat16 trains as under PyTorch's autocast", "[golden][bf16]") {
  LOCKSTEP_NEEDS_DEVICE();
  check_autocast<golden_mlp>("mlp", {.learning_rate = 0.05F, .momentum = 0.9F, .weight_decay = 1e-4F});
}
