// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include <lockstep/backend/cuda/cuda.hpp>
#include <lockstep/core/config.hpp>

#if LOCKSTEP_HAS_NCCL()

#include <algorithm>
#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <exception>
#include <memory>
#include <string_view>
#include <thread>
#include <vector>

#include <nccl.h>

#include "device.hpp"

/// \file
/// What replicas on devices of their own add up. It takes two devices, or one that two ranks of NCCL may share (from
/// NCCL 2.30 on, with NCCL_MULTI_RANK_GPU_ENABLE=1 and few CTAs, as NCCL_MAX_CTAS=4).

namespace {

namespace ls = lockstep;
namespace backend = ls::cuda_backend;

bool may_share() {
  const char* enabled = std::getenv("NCCL_MULTI_RANK_GPU_ENABLE");
  int version = 0;
  return enabled != nullptr && std::string_view(enabled) == "1" && ncclGetVersion(&version) == ncclSuccess &&
         version >= NCCL_VERSION(2, 30, 0);
}

/// Two replicas that have joined. Contexts go first, and what they have recorded with them.
struct pair {
  pair() {
    const int second = backend::device_count() > 1 ? 1 : 0;
    for (std::size_t r = 0; r < 2; ++r)
      contexts[r] = std::make_unique<backend::context>(ls::replica_place{.device = r == 0 ? 0 : second});
    on_both([&](std::size_t r, backend::context& c) { between.join(r, c); });
  }

  /// Runs f(r, context) in a thread for each replica, and throws what the first of them threw.
  template <class F>
  void on_both(const F& f) {
    std::array<std::exception_ptr, 2> errors;
    const auto run = [&](std::size_t r) {
      try {
        const auto entered = contexts[r]->enter();
        f(r, *contexts[r]);
      } catch (...) {
        errors[r] = std::current_exception();
      }
    };
    std::thread other(run, 1);
    run(0);
    other.join();
    for (const std::exception_ptr& error : errors)
      if (error) std::rethrow_exception(error);
  }

  backend::collective<2> between;
  std::array<std::unique_ptr<backend::context>, 2> contexts;
};

constexpr std::int64_t size = 5000;

/// Whole numbers, whose sums have no rounding.
std::vector<float> values_of(std::size_t r) {
  std::vector<float> values(size);
  for (std::size_t i = 0; i < values.size(); ++i) values[i] = static_cast<float>((r + 1) * (i % 1000));
  return values;
}

std::vector<float> sums() {
  std::vector<float> all = values_of(0);
  const std::vector<float> other = values_of(1);
  for (std::size_t i = 0; i < all.size(); ++i) all[i] += other[i];
  return all;
}

}  // namespace

#define LOCKSTEP_NEEDS_TWO_RANKS()                 \
  LOCKSTEP_NEEDS_DEVICE();                         \
  if (backend::device_count() < 2 && !may_share()) \
  LOCKSTEP_SKIP("one device, which NCCL may not share; set NCCL_MULTI_RANK_GPU_ENABLE=1 (NCCL 2.30)")

TEST_CASE("sums between devices start in parts, recorded or not, and what comes behind them waits", "[collective]") {
  LOCKSTEP_NEEDS_TWO_RANKS();
  pair both;
  std::array<std::array<std::vector<float>, 4>, 2> results;
  both.on_both([&](std::size_t r, backend::context& c) {
    const std::vector<float> own = values_of(r);
    auto from = backend::allocate<float>(c, size);
    auto values = backend::allocate<float>(c, size);
    auto result = backend::allocate<float>(c, size);
    backend::copy(c, size, own.data(), from.data());
    // As it is, recorded, and twice as recorded.
    for (auto& each : results[r]) {
      backend::clear(c, size, result.data());
      backend::replay(c, 1, [&] {
        backend::copy<float>(c, size, from.data(), values.data());
        both.between.start_sum(r, c, size - 7, values.data() + 7);
        both.between.start_sum(r, c, 7, values.data());
        both.between.await_sums(r, c);
        backend::copy<float>(c, size, values.data(), result.data());
      });
      each.resize(size);
      backend::copy<float>(c, size, result.data(), each.data());
      both.between.finish(r, c);
    }
    backend::forget(c);
  });
  const std::vector<float> expected = sums();
  for (const auto& of_replica : results)
    for (const auto& each : of_replica) CHECK((each == expected));
}

TEST_CASE("values in memory that replicas share are summed where they lie", "[collective]") {
  LOCKSTEP_NEEDS_TWO_RANKS();
  std::array<backend::buffer<float>, 2> shared;  // ends behind the communicators
  pair both;
  std::array<std::vector<float>, 2> results;
  both.on_both([&](std::size_t r, backend::context& c) {
    auto& values = shared[r];
    values = both.between.allocate_shared(r, c, size);
    const std::vector<float> own = values_of(r);
    backend::copy(c, size, own.data(), values.data());
    both.between.start_sum(r, c, size - 8, values.data() + 8);
    both.between.start_sum(r, c, 8, values.data());
    both.between.await_sums(r, c);
    results[r].resize(size);
    backend::copy<float>(c, size, values.data(), results[r].data());
    both.between.finish(r, c);
  });
  WARN("registered with NCCL: " << both.between.has_registered());
  for (const auto& each : results) CHECK((each == sums()));
}

TEST_CASE("what is gathered between devices lies in the order of the replicas", "[collective]") {
  LOCKSTEP_NEEDS_TWO_RANKS();
  pair both;
  std::array<std::array<std::vector<float>, 2>, 2> results;
  both.on_both([&](std::size_t r, backend::context& c) {
    const std::vector<float> own = values_of(r);
    auto from = backend::allocate<float>(c, size);
    backend::copy(c, size, own.data(), from.data());
    const auto parts = both.between.all_gather(r, c, size, from.data());
    for (std::size_t k = 0; k < 2; ++k) {
      results[r][k].resize(size);
      backend::copy(c, size, parts[k], results[r][k].data());
    }
    both.between.finish(r, c);
  });
  for (const auto& of_replica : results)
    for (std::size_t k = 0; k < 2; ++k) CHECK((of_replica[k] == values_of(k)));
}

TEST_CASE("a replica that waits for one that will not come is told, and nothing hangs", "[collective]") {
  LOCKSTEP_NEEDS_TWO_RANKS();
  const bool recorded = GENERATE(false, true);
  pair both;
  std::array<bool, 2> threw{};
  both.on_both([&](std::size_t r, backend::context& c) {
    auto values = backend::allocate<float>(c, size);
    const auto sum = [&] {
      both.between.start_sum(r, c, size, values.data());
      both.between.await_sums(r, c);
    };
    // Both come three times, after which the sum is recorded; then only the first does.
    for (int i = 0; i < 3; ++i) {
      if (recorded)
        backend::replay(c, 1, sum);
      else
        sum();
      both.between.finish(r, c);
    }
    if (r == 1) {
      std::this_thread::sleep_for(std::chrono::milliseconds(200));
      both.between.abort();
    }
    try {
      if (recorded && r == 0)
        backend::replay(c, 1, sum);
      else
        sum();
      both.between.finish(r, c);
    } catch (const ls::backend_error&) {
      threw[r] = true;
    }
    backend::forget(c);
  });
  CHECK(threw[0]);
  CHECK(threw[1]);
}

#endif
