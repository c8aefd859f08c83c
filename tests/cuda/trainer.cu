// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <future>
#include <span>
#include <string>
#include <vector>

#include <cuda_runtime_api.h>

#include <lockstep/backend/cuda/cuda.hpp>
#include <lockstep/core/config.hpp>
#include <lockstep/parallel/data_parallel.hpp>
#include <lockstep/parallel/timeline.hpp>

#include "allocations.hpp"
#include "device.hpp"
#include "expected.hpp"
#include "training.hpp"

namespace {

using namespace lockstep_test;

template <int N>
using trainer_of = ls::data_parallel<classifier, N, ls::cuda>;

const ls::trainer_options plain{};
const ls::trainer_options guarded{.max_norm = 0.5, .non_finite = ls::non_finite::skip};

/// Calls f(optimizer, options) for steps of every kind: with and without state, in one pass and with a look at the
/// sums.
template <class F>
void each_kind_of_step(const F& f) {
  int kind = 0;
  for (const ls::trainer_options& options : {plain, guarded})
    for (const ls::sgd& optimizer : {ls::sgd{.learning_rate = 0.1F}, with_momentum}) {
      INFO("kind " << kind++);
      f(optimizer, options);
    }
}

template <int N>
trained train_on(const std::vector<int>& devices, const ls::sgd& optimizer, ls::trainer_options options) {
  options.devices = devices;
  return train_classifier<trainer_of<N>>(optimizer, options);
}

/// Free memory of the current device.
std::size_t free_memory() {
  std::size_t free = 0;
  std::size_t total = 0;
  REQUIRE(cudaMemGetInfo(&free, &total) == cudaSuccess);
  return free;
}

/// Steps of two sizes in turn take no more memory of either side, once each size has been met a few times.
template <class Trainer>
void check_steady_steps(const ls::sgd& optimizer, const ls::trainer_options& options) {
  INFO(Trainer::replicas << " replicas");
  Trainer trainer(optimizer, {}, options);
  const floats x = draws(1, 24 * classifier::input_dims.size());
  const floats less(x.begin(), x.begin() + 13 * classifier::input_dims.size());
  const auto targets = class_draws(2, 24, 5);
  const std::span few(targets.data(), 13);
  const auto two_steps = [&] {
    return trainer.step(batch<classifier>(x), targets) + trainer.step(batch<classifier>(less), few);
  };
  for (int i = 0; i < 5; ++i) static_cast<void>(two_steps());
  const std::size_t before = free_memory();
  double loss = 0;
  const allocation_count host = count_allocations([&] {
    for (int i = 0; i < 25; ++i) loss += two_steps();
  });
  CHECK(free_memory() == before);
  INFO("the first allocation is at " << host.first);
  CHECK(host.own == 0);
  CHECK(std::isfinite(loss));
  CHECK(loss > 0);
}

}  // namespace

TEST_CASE("a replica on a device trains as one on the CPU", "[trainer]") {
  LOCKSTEP_NEEDS_DEVICE();
  each_kind_of_step([](const ls::sgd& optimizer, const ls::trainer_options& options) {
    const trained expected = expected_classifier(optimizer, options);
    REQUIRE(std::isfinite(expected.losses.back()));
    check_close(train_classifier<trainer_of<1>>(optimizer, options), expected, 1e-4);
  });
}

TEST_CASE("replicas on one device train as one does", "[trainer]") {
  LOCKSTEP_NEEDS_DEVICE();
  each_kind_of_step([](const ls::sgd& optimizer, const ls::trainer_options& options) {
    const trained one = train_classifier<trainer_of<1>>(optimizer, options);
    REQUIRE(std::isfinite(one.losses.back()));
    check_close(train_classifier<trainer_of<2>>(optimizer, options), one, 1e-5);
    check_close(train_classifier<trainer_of<4>>(optimizer, options), one, 1e-5);
  });
}

#if LOCKSTEP_HAS_NCCL()

TEST_CASE("replicas on two devices train as one does", "[trainer]") {
  LOCKSTEP_NEEDS_DEVICES(2);
  each_kind_of_step([](const ls::sgd& optimizer, const ls::trainer_options& options) {
    const trained one = train_on<1>({0}, optimizer, options);
    REQUIRE(std::isfinite(one.losses.back()));
    check_close(train_on<2>({0, 1}, optimizer, options), one, 1e-5);
    check_close(train_on<2>({1, 0}, optimizer, options), one, 1e-5);
    check_close(train_on<4>({0, 0, 1, 1}, optimizer, options), one, 1e-5);
  });
}

TEST_CASE("an evaluation that moves the buffers of one device leaves the steps of all alike", "[trainer]") {
  LOCKSTEP_NEEDS_DEVICES(2);
  const floats x = draws(1, 66 * classifier::input_dims.size());
  const auto first = [&](std::int64_t samples) {
    return floats(x.begin(), x.begin() + samples * classifier::input_dims.size());
  };
  const auto targets = class_draws(2, 12, 5);
  ls::trainer_options options;
  options.devices = {0, 1};
  trainer_of<2> trainer(with_momentum, {}, options);
  trainer_of<1> one(with_momentum);
  // 33 samples for the first device and 32 for the second; then 33 for both, for which the second alone has no room.
  for (const std::int64_t samples : {65, 66, 65}) {
    for (int i = 0; i < 3; ++i)
      CHECK(trainer.step(batch<classifier>(first(12)), targets) ==
            Approx(one.step(batch<classifier>(first(12)), targets)).epsilon(1e-5));
    static_cast<void>(trainer.forward(batch<classifier>(first(samples))));
  }
}

TEST_CASE("replicas on four devices train as one does", "[trainer]") {
  LOCKSTEP_NEEDS_DEVICES(4);
  for (const ls::trainer_options& options : {plain, guarded})
    check_close(train_on<4>({2, 0, 3, 1}, with_momentum, options), train_on<1>({0}, with_momentum, options), 1e-5);
}

TEST_CASE("the first devices are shared evenly by replicas that are more", "[trainer]") {
  LOCKSTEP_NEEDS_DEVICES(2);
  CHECK(ls::cuda::devices<1>() == std::vector<int>{0});
  CHECK(ls::cuda::devices<2>() == std::vector<int>{0, 1});
  const std::vector<int> eight = ls::cuda::devices<8>();
  REQUIRE(eight.size() == 8);
  CHECK(eight.front() == 0);
  CHECK(eight.back() < ls::cuda_backend::device_count());
  check_close(train_on<4>(ls::cuda::devices<4>(), with_momentum, plain), train_on<1>({}, with_momentum, plain), 1e-5);
}

#endif

TEST_CASE("with factors rounded to TF32 or bfloat16 a replica on a device trains as on the CPU within their rounding",
          "[trainer]") {
  LOCKSTEP_NEEDS_DEVICE();
  using tf32 = ls::data_parallel<classifier, 1, ls::cuda, ls::precision::tf32>;
  check_close(train_classifier<tf32>(with_momentum, plain), expected_classifier(with_momentum, plain), 2e-2);
  ls::trainer_options rounded = plain;
  rounded.rounding = ls::factor_rounding::bf16;
  check_close(train_classifier<trainer_of<1>>(with_momentum, rounded), expected_classifier(with_momentum, plain), 1e-1);
  rounded.rounding = ls::factor_rounding::tf32;
  check_same_bits(train_classifier<trainer_of<1>>(with_momentum, rounded),
                  train_classifier<tf32>(with_momentum, plain));
  rounded.rounding = ls::factor_rounding::none;
  check_same_bits(train_classifier<tf32>(with_momentum, rounded),
                  train_classifier<trainer_of<1>>(with_momentum, plain));
}

TEST_CASE("a run on a device has the same bits again", "[trainer]") {
  LOCKSTEP_NEEDS_DEVICE();
  check_same_bits(train_classifier<trainer_of<1>>(with_momentum, guarded),
                  train_classifier<trainer_of<1>>(with_momentum, guarded));
  check_same_bits(train_classifier<trainer_of<4>>(with_momentum, plain),
                  train_classifier<trainer_of<4>>(with_momentum, plain));
}

TEST_CASE("two trainers at once on one device do not disturb each other", "[trainer]") {
  LOCKSTEP_NEEDS_DEVICE();
  const trained alone = train_classifier<trainer_of<2>>(with_momentum, guarded);
  const trained other = train_classifier<trainer_of<1>>(with_momentum, plain);
  for (int round = 0; round < 3; ++round) {
    INFO("round " << round);
    auto first = std::async(std::launch::async, [] { return train_classifier<trainer_of<2>>(with_momentum, guarded); });
    auto second = std::async(std::launch::async, [] { return train_classifier<trainer_of<1>>(with_momentum, plain); });
    const trained a = first.get();
    const trained b = second.get();
    check_same_bits(a, alone);
    check_same_bits(b, other);
  }
}

TEST_CASE("steps of sizes met before allocate nothing, neither on the device nor on the host", "[trainer]") {
  LOCKSTEP_NEEDS_DEVICE();
  check_steady_steps<trainer_of<1>>(with_momentum, plain);
  check_steady_steps<trainer_of<1>>(with_momentum, guarded);
  check_steady_steps<trainer_of<2>>(with_momentum, plain);
  check_steady_steps<trainer_of<4>>(with_momentum, guarded);
  check_steady_steps<ls::data_parallel<classifier, 2, ls::cuda, ls::precision::bf16>>(with_momentum, plain);
}

TEST_CASE("a timeline of steps on a device holds every layer, and changes no bit", "[trainer]") {
  LOCKSTEP_NEEDS_DEVICE();
  const floats x = draws(1, 12 * classifier::input_dims.size());
  const auto targets = class_draws(2, 12, 5);
  trainer_of<2> trainer(with_momentum);
  trainer_of<2> recorded(with_momentum);
  ls::timeline spans(2, 1000);
  for (int i = 0; i < 6; ++i) {
    recorded.record(i % 3 == 0 ? nullptr : &spans);  // from replayed work to plain streams and back
    CHECK(recorded.step(batch<classifier>(x), targets) == trainer.step(batch<classifier>(x), targets));
  }
  CHECK(same_bits(all_values(recorded.parameters()), all_values(trainer.parameters())));
  for (int r = 0; r < 2; ++r) {
    int forward = 0;
    for (const auto& span : spans.events(r)) forward += span.what == ls::activity::forward ? 1 : 0;
    CHECK(forward >= 4 * 6);
  }
}

TEST_CASE("images may lie in a device's memory", "[trainer]") {
  LOCKSTEP_NEEDS_DEVICE();
  const floats x = draws(1, 12 * classifier::input_dims.size());
  const auto targets = class_draws(2, 12, 5);
  ls::cuda_backend::context c;
  auto there = ls::cuda_backend::allocate<float>(c, static_cast<std::int64_t>(x.size()));
  ls::cuda_backend::copy(c, there.size(), x.data(), there.data());
  c.finish();
  const typename trainer_of<2>::input_view images(there.data(), 12);
  trainer_of<2> trainer(with_momentum);
  trainer_of<2> from_host(with_momentum);
  for (int i = 0; i < 4; ++i) CHECK(trainer.step(images, targets) == from_host.step(batch<classifier>(x), targets));
  CHECK(same_bits(all_values(trainer.parameters()), all_values(from_host.parameters())));
  const auto y = trainer.forward(images);
  const auto expected = from_host.forward(batch<classifier>(x));
  CHECK(same_bits(floats(y.begin(), y.end()), floats(expected.begin(), expected.end())));
}

#if LOCKSTEP_HAS_NCCL()

// 65540 and 65520 bytes: one of them is more than is put in a packet.
TEST_CASE("shards of different sizes are recorded alike, wherever their images lie", "[trainer]") {
  LOCKSTEP_NEEDS_DEVICES(2);
  using trainer_type = ls::data_parallel<regression, 2, ls::cuda>;
  constexpr std::int64_t samples = 6553;
  STATIC_REQUIRE(regression::input_dims.size() == 5);
  const floats x = draws(1, samples * 5);
  const floats targets = draws(2, samples * regression::output_dims.size());
  ls::cuda_backend::context c;
  auto there = ls::cuda_backend::allocate<float>(c, samples * 5);
  ls::cuda_backend::copy(c, there.size(), x.data(), there.data());
  c.finish();
  const typename trainer_type::input_view images(there.data(), samples);
  const ls::trainer_options options{.devices = {0, 1}};
  trainer_type trainer(with_momentum, {}, options);
  trainer_type from_host(with_momentum, {}, options);
  for (const bool host : {true, true, true, false, false, false, true}) {
    const double loss = host ? trainer.step(batch<regression>(x), targets) : trainer.step(images, targets);
    CHECK(loss == from_host.step(batch<regression>(x), targets));
  }
  CHECK(same_bits(all_values(trainer.parameters()), all_values(from_host.parameters())));
}

#endif

// That their order is PyTorch's too follows from the runs above: what is assigned there is what the CPU's trainer gets.
TEST_CASE("the parameters of a device have PyTorch's names, and read as they were assigned", "[trainer]") {
  LOCKSTEP_NEEDS_DEVICE();
  trainer_of<2> trainer;
  std::vector<std::string> names;
  std::uint64_t stream = 1;
  for (const auto& each : trainer.parameters()) {
    names.emplace_back(each.name());
    const floats values = draws(stream++, each.size());
    each.assign(values);
    CHECK(trainer.parameters().at(each.name()).values() == values);
  }
  CHECK(names ==
        std::vector<std::string>{"conv1.weight", "conv1.bias", "fc1.weight", "fc1.bias", "fc2.weight", "fc2.bias"});
}
