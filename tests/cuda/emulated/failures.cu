// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include <lockstep/backend/cuda/cuda.hpp>

#include <array>
#include <chrono>
#include <memory>
#include <string>
#include <thread>

#include <lockstep/parallel/data_parallel.hpp>

#include "device.hpp"
#include "faults.hpp"
#include "training.hpp"

/// \file
/// What only the emulation can make fail.

namespace {

using namespace lockstep_test;
namespace backend = ls::cuda_backend;

/// Runs f(r, context) on threads for two replicas, each on a device of its own. Returns what each threw. A call that
/// allocates waits for all devices: both replicas have allocated before one starts what waits for the other's work.
template <class F>
std::array<std::string, 2> on_both(std::array<std::unique_ptr<backend::context>, 2>& contexts, const F& f) {
  std::array<std::string, 2> messages;
  const auto run = [&](std::size_t r) {
    try {
      f(r, *contexts[r]);
    } catch (const ls::error& e) {
      messages[r] = e.what();
    }
  };
  std::thread other(run, 1);
  run(0);
  other.join();
  return messages;
}

std::array<std::unique_ptr<backend::context>, 2> two_contexts() {
  return {std::make_unique<backend::context>(ls::replica_place{.device = 0}),
          std::make_unique<backend::context>(ls::replica_place{.device = 1})};
}

}  // namespace

TEST_CASE("a replica whose device fails before all have joined leaves none waiting", "[failures]") {
  LOCKSTEP_NEEDS_DEVICES(2);
  auto contexts = two_contexts();
  {
    backend::collective<2> between;
    emulated::refuse_device(1);
    const auto messages = on_both(contexts, [&](std::size_t r, backend::context& c) { between.join(r, c); });
    emulated::refuse_device(-1);
    CHECK(messages[0].empty());
    CHECK_THAT(messages[1], Catch::Contains("cudaSetDevice"));
  }
  // Others join as ever.
  backend::collective<2> between;
  CHECK(on_both(contexts, [&](std::size_t r, backend::context& c) { between.join(r, c); }) ==
        std::array<std::string, 2>{});
}

TEST_CASE("an abort leaves a communicator alone while a replica is in a call with it", "[failures]") {
  LOCKSTEP_NEEDS_DEVICES(2);
  auto contexts = two_contexts();
  backend::collective<2> between;
  CHECK(on_both(contexts, [&](std::size_t r, backend::context& c) { between.join(r, c); }) ==
        std::array<std::string, 2>{});
  const auto entered = contexts[0]->enter();
  auto values = backend::allocate<float>(*contexts[0], 8);
  const int before = emulated::uses_of_closed_communicators();
  const int ends_before = emulated::ends_during_calls();
  emulated::call_in_next_sum([&] {
    between.abort();
    std::this_thread::sleep_for(std::chrono::milliseconds(200));
  });
  // The call itself throws where NCCL still works on what it has begun.
  const auto sum = [&] {
    between.start_sum(0, *contexts[0], 8, values.data());
    between.await_sums(0, *contexts[0]);
    between.finish(0, *contexts[0]);
  };
  CHECK_THROWS_AS(sum(), ls::backend_error);
  CHECK_THROWS_AS(between.start_sum(0, *contexts[0], 8, values.data()), ls::backend_error);
  CHECK(emulated::uses_of_closed_communicators() == before);
  CHECK(emulated::ends_during_calls() == ends_before);
}

TEST_CASE("an abort ends the wait for what NCCL has begun, between two calls", "[failures]") {
  LOCKSTEP_NEEDS_DEVICES(2);
  auto contexts = two_contexts();
  backend::collective<2> between;
  std::array<backend::buffer<float>, 2> values;
  CHECK(on_both(contexts, [&](std::size_t r, backend::context& c) {
          between.join(r, c);
          const auto entered = c.enter();
          values[r] = backend::allocate<float>(c, 8);
        }) == std::array<std::string, 2>{});
  const int uses_before = emulated::uses_of_closed_communicators();
  const int ends_before = emulated::ends_during_calls();
  emulated::hold_up_communicators(true);
  std::thread gives_up([&] {
    std::this_thread::sleep_for(std::chrono::milliseconds(100));
    between.abort();
  });
  const auto messages = on_both(contexts, [&](std::size_t r, backend::context& c) {
    const auto entered = c.enter();
    between.start_sum(r, c, 8, values[r].data());
  });
  gives_up.join();
  emulated::hold_up_communicators(false);
  for (const std::string& message : messages) CHECK_THAT(message, Catch::Contains("closed after one had failed"));
  CHECK(emulated::uses_of_closed_communicators() == uses_before);
  CHECK(emulated::ends_during_calls() == ends_before);
}

TEST_CASE("no kernel is brought to a device while others wait for it in NCCL", "[failures]") {
  LOCKSTEP_NEEDS_DEVICES(2);
  constexpr std::int64_t n = 20000;  // enough for a second exchange behind the sums
  emulated::forget_kernels();
  auto contexts = two_contexts();
  backend::collective<2> between;
  std::array<backend::buffer<float>, 2> values;
  const std::array<std::string, 2> nothing;
  CHECK(on_both(contexts, [&](std::size_t r, backend::context& c) {
          between.join(r, c);
          between.reserve_ordered(r, c, n);
          const auto entered = c.enter();
          // What the first replica's device has, the second's need not have.
          if (r == 0) backend::load_reduce_and_update<2, 0, ls::assign_rule>();
          values[r] = backend::allocate<float>(c, n);
        }) == nothing);
  const auto messages = on_both(contexts, [&](std::size_t r, backend::context& c) {
    const auto entered = c.enter();
    // The first replica is far ahead when the second begins to add.
    if (r == 1) std::this_thread::sleep_for(std::chrono::milliseconds(200));
    between.start_ordered_sum(r, c, n, values[r].data());
    between.await_sums(r, c);
    between.finish(r, c);
  });
  CHECK(messages == nothing);
}
