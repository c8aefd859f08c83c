// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include <cmath>
#include <limits>
#include <vector>

#include <lockstep/backend/cuda/cuda.hpp>
#include <lockstep/core/config.hpp>
#include <lockstep/parallel/data_parallel.hpp>

#include "device.hpp"
#include "training.hpp"

#if LOCKSTEP_HAS_NCCL()

namespace {

using namespace lockstep_test;

/// Skipping leaves the test case that asks, so it is the case's own word.
#define LOCKSTEP_NEEDS_DEVICES(n) \
  LOCKSTEP_NEEDS_DEVICE();        \
  if (ls::cuda_backend::device_count() < n) LOCKSTEP_SKIP("there are fewer than " #n " devices")

template <int N, class... Policies>
trained train(const std::vector<int>& devices, ls::trainer_options options, const ls::sgd& optimizer = with_momentum) {
  options.devices = devices;
  return train_classifier<ls::data_parallel<classifier, N, ls::cuda, Policies...>>(optimizer, options);
}

const ls::trainer_options plain{};
const ls::trainer_options guarded{.max_norm = 0.5, .non_finite = ls::non_finite::skip};

}  // namespace

TEST_CASE("replicas on two devices train as one does", "[devices]") {
  LOCKSTEP_NEEDS_DEVICES(2);
  for (const ls::trainer_options& options : {plain, guarded})
    for (const ls::sgd& optimizer : {ls::sgd{.learning_rate = 0.1F}, with_momentum}) {
      CAPTURE(options.max_norm, optimizer.momentum);
      const trained one = train<1>({0}, options, optimizer);
      REQUIRE(std::isfinite(one.losses.back()));
      check_close(train<2>({0, 1}, options, optimizer), one, 1e-5);
      check_close(train<2>({1, 0}, options, optimizer), one, 1e-5);
      check_close(train<4>({0, 0, 1, 1}, options, optimizer), one, 1e-5);
    }
}

TEST_CASE("replicas on four devices train as one does", "[devices]") {
  LOCKSTEP_NEEDS_DEVICES(4);
  for (const ls::trainer_options& options : {plain, guarded})
    check_close(train<4>({2, 0, 3, 1}, options), train<1>({0}, options), 1e-5);
}

TEST_CASE("reproducible training has the same bits on several devices", "[devices]") {
  LOCKSTEP_NEEDS_DEVICES(2);
  for (const ls::trainer_options& options : {plain, guarded}) {
    const trained one = train<1, ls::reduce::reproducible>({0}, options);
    REQUIRE(std::isfinite(one.losses.back()));
    check_same_bits(train<1, ls::reduce::reproducible>({1}, options), one);
    check_same_bits(train<2, ls::reduce::reproducible>({0, 1}, options), one);
    check_same_bits(train<4, ls::reduce::reproducible>({1, 1, 0, 0}, options), one);
  }
}

TEST_CASE("the first devices are shared evenly by replicas that are more", "[devices]") {
  LOCKSTEP_NEEDS_DEVICES(2);
  const int count = ls::cuda_backend::device_count();
  CHECK(ls::cuda::devices<1>() == std::vector<int>{0});
  CHECK(ls::cuda::devices<2>() == std::vector<int>{0, 1});
  const std::vector<int> eight = ls::cuda::devices<8>();
  REQUIRE(eight.size() == 8);
  CHECK(eight.front() == 0);
  CHECK(eight.back() < count);
  check_close(train<4>(ls::cuda::devices<4>(), plain), train<1>({}, plain), 1e-5);
}

TEST_CASE("a step whose gradients are not finite stops training on several devices", "[devices]") {
  LOCKSTEP_NEEDS_DEVICES(2);
  for (const std::vector<int>& devices : {std::vector{0, 1}, std::vector{1, 0}}) {
    ls::data_parallel<regression, 2, ls::cuda> trainer(with_momentum, {},
                                                       {.devices = devices, .non_finite = ls::non_finite::stop});
    const floats x = draws(3, 6 * 5);
    floats targets = draws(4, 6 * 3);
    for (int i = 0; i < 4; ++i) {
      static_cast<void>(trainer.step(batch<regression>(x), targets));
      const auto before = all_values(trainer.parameters());
      floats broken = targets;
      broken.back() = std::numeric_limits<float>::infinity();
      CHECK_THROWS_AS(trainer.step(batch<regression>(x), broken), ls::non_finite_error);
      CHECK(same_bits(all_values(trainer.parameters()), before));
    }
  }
}

#endif
