// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include <cmath>
#include <exception>
#include <limits>
#include <string>
#include <vector>

#include <lockstep/backend/cuda/cuda.hpp>
#include <lockstep/backend/cuda/device.hpp>
#include <lockstep/core/config.hpp>
#include <lockstep/core/error.hpp>
#include <lockstep/parallel/data_parallel.hpp>

#include "device.hpp"
#include "expected.hpp"
#include "training.hpp"

namespace {

using namespace lockstep_test;

template <int N>
using trainer_of = ls::data_parallel<regression, N, ls::cuda>;

constexpr float infinity = std::numeric_limits<float>::infinity();

struct samples {
  floats x = draws(3, 6 * 5);
  floats targets = draws(4, 6 * 3);

  /// The same with an infinite loss in the last sample.
  [[nodiscard]] samples broken() const {
    samples other = *this;
    other.targets.back() = infinity;
    return other;
  }
};

template <class Trainer>
double step(Trainer& trainer, const samples& s) {
  return trainer.step(batch<regression>(s.x), s.targets);
}

/// Often enough that broken steps are replayed too.
constexpr int rounds = 4;

template <int N>
void check_skipping() {
  INFO(N << " replicas");
  int reports = 0;
  trainer_of<N> trainer(
      with_momentum, {},
      {.max_norm = 0.5, .non_finite = ls::non_finite::skip, .on_non_finite = [&](const auto&) { ++reports; }});
  trainer_of<N> calm(with_momentum, {}, {.max_norm = 0.5, .non_finite = ls::non_finite::skip});
  const samples good;
  const samples bad = good.broken();
  for (int i = 0; i < rounds; ++i) {
    CHECK(step(trainer, good) == step(calm, good));
    const auto before = all_values(trainer.parameters());
    CHECK_FALSE(std::isfinite(step(trainer, bad)));
    CHECK_FALSE(std::isfinite(trainer.gradient_norm()));
    CHECK(same_bits(all_values(trainer.parameters()), before));
    CHECK(trainer.steps() == i + 1);
    CHECK(reports == i + 1);
  }
  // As if the broken steps had never been, for the momentum as well.
  CHECK(same_bits(all_values(trainer.parameters()), all_values(calm.parameters())));
}

template <int N>
void check_stopping(const std::vector<int>& devices = {}) {
  INFO(N << " replicas");
  trainer_of<N> trainer(with_momentum, {}, {.devices = devices, .non_finite = ls::non_finite::stop});
  const samples good;
  for (int i = 0; i < rounds; ++i) {
    static_cast<void>(step(trainer, good));
    CHECK(std::isfinite(trainer.gradient_norm()));
    const auto before = all_values(trainer.parameters());
    try {
      static_cast<void>(step(trainer, good.broken()));
      FAIL("a step with infinite gradients went through");
    } catch (const ls::non_finite_error& e) {
      CHECK(e.report().replica == N - 1);
      CHECK(e.report().step == i + 1);
      CHECK(e.report().parameter == "0.bias");
    }
    CHECK(same_bits(all_values(trainer.parameters()), before));
  }
}

/// What `e` says when it is an Error, or the first Error that is nested in it; empty when there is none.
template <class Error>
std::string message_in(const std::exception& e) {
  if (const auto* const wanted = dynamic_cast<const Error*>(&e)) return wanted->what();
  try {
    std::rethrow_if_nested(e);
  } catch (const std::exception& inner) {
    return message_in<Error>(inner);
  }
  return {};
}
template <class Error, class Action>
std::string message_of(const Action& action) {
  try {
    action();
  } catch (const std::exception& e) {
    return message_in<Error>(e);
  }
  return {};
}

}  // namespace

TEST_CASE("frozen layers and fewer samples than replicas train on a device as on the CPU", "[guards]") {
  LOCKSTEP_NEEDS_DEVICE();
  for (const ls::sgd& optimizer : {ls::sgd{.learning_rate = 0.1F}, with_momentum}) {
    const trained expected = expected_regression(optimizer, {});
    REQUIRE(std::isfinite(expected.losses.back()));
    const trained one = train_regression<trainer_of<1>>(optimizer, {});
    const trained four = train_regression<trainer_of<4>>(optimizer, {});
    check_close(one, expected, 1e-5);
    check_close(four, expected, 1e-5);
    for (const trained* each : {&one, &four}) {
      CHECK(each->gradients.size() == 2);
      REQUIRE(each->parameters.size() == 4);
      CHECK_FALSE(same_bits(each->parameters[0], each->initial[0]));
      CHECK(same_bits(each->parameters[2], each->initial[2]));  // frozen
      CHECK(same_bits(each->parameters[3], each->initial[3]));
    }
  }
}

TEST_CASE("a step whose gradients are not finite is skipped on a device", "[guards]") {
  LOCKSTEP_NEEDS_DEVICE();
  check_skipping<1>();
  check_skipping<4>();
}

TEST_CASE("a step whose gradients are not finite stops training on a device, and is told of", "[guards]") {
  LOCKSTEP_NEEDS_DEVICE();
  check_stopping<1>();
  check_stopping<4>();
}

#if LOCKSTEP_HAS_NCCL()

TEST_CASE("a step whose gradients are not finite stops training on several devices", "[guards]") {
  LOCKSTEP_NEEDS_DEVICES(2);
  check_stopping<4>({0, 0, 1, 1});
  check_stopping<4>({1, 1, 0, 0});
}

#endif

TEST_CASE("a batch that does not fit changes nothing on a device", "[guards]") {
  LOCKSTEP_NEEDS_DEVICE();
  trainer_of<1> trainer(with_momentum);
  const samples good;
  for (int i = 0; i < 3; ++i) static_cast<void>(step(trainer, good));
  const auto before = all_values(trainer.parameters());
  CHECK_THROWS_AS(trainer.step(batch<regression>(good.x), floats(5)), ls::shape_error);
  CHECK(same_bits(all_values(trainer.parameters()), before));
  CHECK(trainer.steps() == 3);
  static_cast<void>(step(trainer, good));
  CHECK_FALSE(same_bits(all_values(trainer.parameters()), before));
}

TEST_CASE("a device that does not exist is refused by its number", "[guards]") {
  LOCKSTEP_NEEDS_DEVICE();
  const int count = ls::cuda_backend::device_count();
  for (const int device : {count, 12345}) {
    const ls::trainer_options options{.devices = {device}};
    for (const std::string& message : {message_of<ls::value_error>([&] { trainer_of<1>({}, {}, options); }),
                                       message_of<ls::value_error>([&] { trainer_of<4>({}, {}, options); })}) {
      CAPTURE(message);
      CHECK(message.find("got " + std::to_string(device)) != std::string::npos);
      CHECK(message.find("a device from 0 to " + std::to_string(count - 1)) != std::string::npos);
    }
  }
  CHECK_NOTHROW(trainer_of<1>({}, {}, {.devices = {count - 1}}));
}

TEST_CASE("without a device a trainer says so", "[host]") {
  if (ls::cuda_backend::why_no_device().empty()) LOCKSTEP_SKIP("there is a device");
  for (const std::string& message : {message_of<ls::backend_error>([] { trainer_of<1>{}; }),
                                     message_of<ls::backend_error>([] { trainer_of<4>{}; })}) {
    CAPTURE(message);
    CHECK(message.find("lockstep: cuda: expected a CUDA device and its driver, got ") == 0);
    CHECK(message.find(ls::cuda_backend::why_no_device()) != std::string::npos);
    CHECK(message.find("nvidia-smi") != std::string::npos);
  }
  CHECK(message_of<ls::value_error>([] { trainer_of<1>({}, {}, {.devices = {-1}}); }).find("got -1") !=
        std::string::npos);
}
