// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include <cstddef>
#include <cstdint>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#include <lockstep/backend/cuda/cuda.hpp>
#include <lockstep/backend/reference/reference.hpp>
#include <lockstep/core/config.hpp>
#include <lockstep/nn/skippable.hpp>
#include <lockstep/optim/sgd.hpp>
#include <lockstep/parallel/data_parallel.hpp>
#include <lockstep/parallel/precision.hpp>
#include <lockstep/parallel/predictor.hpp>

#include "device.hpp"
#include "device_array.hpp"
#include "expected.hpp"
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
constexpr double of_8_bits = 1e-1;
/// What it leaves of the same steps with sums in another order.
constexpr double in_another_order = 5e-2;
/// Of one pass.
constexpr double of_a_pass = 2e-2;

// Networks whose images are converted by a node of its own, before and behind a flatten, and in the same pass as a
// change of order; and one that changes the order back. Behind their first layer nothing decides by a number's sign or
// size, which a rounding could turn.
using flat_last = ls::model<
    ls::sequential<ls::conv2d<4, 3, ls::padding<1>>, ls::avg_pool2d<2>, ls::flatten, ls::linear<21>, ls::linear<5>>,
    ls::input<3, 7, 7>, ls::cross_entropy>;
using flat_first = ls::model<ls::sequential<ls::flatten, ls::linear<9>, ls::frozen<ls::linear<4>>>, ls::input<2, 3, 4>,
                             ls::mean_squared_error>;
using relu_first =
    ls::model<ls::sequential<ls::relu, ls::conv2d<3, 2>, ls::conv2d<5, 2>>, ls::input<2, 6, 5>, ls::mean_squared_error>;
using picture_output =
    ls::model<ls::sequential<ls::conv2d<6, 3>, ls::avg_pool2d<2>>, ls::input<3, 8, 10>, ls::mean_squared_error>;
using with_skippable = ls::model<
    ls::sequential<ls::conv2d<3, 3>, ls::flatten, ls::named<"hidden", ls::skippable<ls::linear<48>>>, ls::linear<4>>,
    ls::input<2, 6, 6>, ls::mean_squared_error>;

/// One step from parameters and images that are numbers of 8 bits, against the definitions in double: what differs is
/// what passes round on their way.
template <class Model, bool Skipped = false>
void check_definition() {
  INFO("first layer " << Model::template leaf<0>::kind << (Skipped ? ", skipped" : ""));
  constexpr std::int64_t samples = 12;
  const floats x = held<ls::cuda_bf16::activation_type>(draws(3, samples * Model::input_dims.size()));
  ls::data_parallel<Model, 2, ls::cuda, ls::precision::bf16> given({.learning_rate = 0});
  ls::data_parallel<Model, 1, ls::reference<double>> exact({.learning_rate = 0});
  std::uint64_t stream = 900;
  auto theirs = exact.parameters();
  auto their = theirs.begin();
  for (const auto& each : given.parameters()) {
    const floats values = held<ls::cuda_bf16::activation_type>(draws(stream++, each.size(), 0.5F));
    each.assign(values);
    (*their).assign(std::vector<double>(values.begin(), values.end()));
    ++their;
  }
  if constexpr (Skipped) {
    given.skip("hidden");
    exact.skip("hidden");
  }
  const std::vector<double> exact_x(x.begin(), x.end());
  using exact_view = typename decltype(exact)::input_view;
  const auto y = given.forward(batch<Model>(x));
  const auto want_y = exact.forward(exact_view(exact_x.data(), samples));
  const auto difference = [](const auto& a, const auto& b) {
    return relative_difference(std::vector<double>(a.begin(), a.end()), std::vector<double>(b.begin(), b.end()));
  };
  CHECK(difference(y, want_y) <= of_a_pass);
  const auto losses = [&] {
    if constexpr (std::is_same_v<typename Model::loss_type, ls::cross_entropy>) {
      const auto targets = class_draws(4, samples, 5);
      return std::pair(given.step(batch<Model>(x), targets), exact.step(exact_view(exact_x.data(), samples), targets));
    } else {
      const floats targets = draws(4, samples * Model::output_dims.size());
      return std::pair(
          given.step(batch<Model>(x), targets),
          exact.step(exact_view(exact_x.data(), samples), std::vector<double>(targets.begin(), targets.end())));
    }
  }();
  CHECK(losses.first == Approx(losses.second).epsilon(of_a_pass));
  auto wanted = exact.gradients();
  auto want = wanted.begin();
  for (const auto& each : given.gradients()) {
    INFO(each.name());
    CHECK(difference(each.values(), (*want).values()) <= of_a_pass);
    ++want;
  }
}

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
  check_alike(one, expected_classifier(with_momentum, plain), of_8_bits);
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

TEST_CASE("in bfloat16, each kind of network computes what the definitions say", "[bf16]") {
  LOCKSTEP_NEEDS_DEVICE();
  check_definition<flat_last>();
  check_definition<flat_first>();
  check_definition<relu_first>();
  check_definition<picture_output>();
  check_definition<with_skippable>();
  check_definition<with_skippable, true>();
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
