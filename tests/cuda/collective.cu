// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include <lockstep/backend/cuda/cuda.hpp>
#include <lockstep/core/config.hpp>

#if LOCKSTEP_HAS_NCCL()

#include <algorithm>
#include <array>
#include <barrier>
#include <chrono>
#include <cmath>
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
/// What replicas on devices of their own add up. It takes as many devices, or some that ranks of NCCL may share (from
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

/// N replicas that have joined, each on a device of its own where there are so many. Contexts go first, and what they
/// have recorded with them.
template <std::size_t N>
struct team {
  team() {
    const int count = backend::device_count();
    for (std::size_t r = 0; r < N; ++r)
      contexts[r] = std::make_unique<backend::context>(ls::replica_place{.device = static_cast<int>(r) % count});
    on_all([&](std::size_t r, backend::context& c) { between.join(r, c); });
  }

  /// Runs f(r, context) in a thread for each replica, and throws what the first of them threw.
  template <class F>
  void on_all(const F& f) {
    std::array<std::exception_ptr, N> errors;
    const auto run = [&](std::size_t r) {
      try {
        const auto entered = contexts[r]->enter();
        f(r, *contexts[r]);
      } catch (...) {
        errors[r] = std::current_exception();
      }
    };
    std::vector<std::thread> others;
    for (std::size_t r = 1; r < N; ++r) others.emplace_back(run, r);
    run(0);
    for (std::thread& other : others) other.join();
    for (const std::exception_ptr& error : errors)
      if (error) std::rethrow_exception(error);
  }

  /// Between what a replica prepares and what it gives its device: where that waits for another's work, a call that
  /// allocates or loads may wait for it.
  void meet() { gate.arrive_and_wait(); }

  std::barrier<> gate{static_cast<std::ptrdiff_t>(N)};
  backend::collective<N> between;
  std::array<std::unique_ptr<backend::context>, N> contexts;
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

#define LOCKSTEP_NEEDS_RANKS(n)                    \
  LOCKSTEP_NEEDS_DEVICE();                         \
  if (backend::device_count() < n && !may_share()) \
  LOCKSTEP_SKIP("too few devices, which NCCL may not share; set NCCL_MULTI_RANK_GPU_ENABLE=1 (NCCL 2.30)")

TEST_CASE("sums between devices start in parts, recorded or not, and what comes behind them waits", "[collective]") {
  LOCKSTEP_NEEDS_RANKS(2);
  team<2> both;
  std::array<std::array<std::vector<float>, 4>, 2> results;
  both.on_all([&](std::size_t r, backend::context& c) {
    const std::vector<float> own = values_of(r);
    auto from = backend::allocate<float>(c, size);
    auto values = backend::allocate<float>(c, size);
    auto result = backend::allocate<float>(c, size);
    backend::copy(c, size, own.data(), from.data());
    both.meet();
    // As it is, recorded, and twice as recorded.
    for (auto& each : results[r]) {
      backend::clear(c, size, result.data());
      backend::replay(
          c, 1,
          [&] {
            backend::copy<float>(c, size, from.data(), values.data());
            both.between.start_sum(r, c, size - 7, values.data() + 7);
            both.between.start_sum(r, c, 7, values.data());
            both.between.await_sums(r, c);
            backend::copy<float>(c, size, values.data(), result.data());
          },
          [&] { both.meet(); });
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
  LOCKSTEP_NEEDS_RANKS(2);
  std::array<backend::buffer<float>, 2> shared;  // ends behind the communicators
  team<2> both;
  std::array<std::vector<float>, 2> results;
  both.on_all([&](std::size_t r, backend::context& c) {
    auto& values = shared[r];
    values = both.between.allocate_shared(r, c, size);
    const std::vector<float> own = values_of(r);
    backend::copy(c, size, own.data(), values.data());
    both.meet();
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

namespace {

/// Numbers of many magnitudes, whose sums depend on the order.
std::vector<float> mixed_values(std::size_t r, std::int64_t n) {
  std::vector<float> values(static_cast<std::size_t>(n));
  for (std::size_t i = 0; i < values.size(); ++i)
    values[i] =
        static_cast<float>(std::ldexp(std::sin(static_cast<double>(i * 7 + r)), static_cast<int>((i + r) % 12)));
  return values;
}

/// Few values, of which all are gathered, and many, which are exchanged, recorded and not.
template <std::size_t N, class Tree>
void check_ordered_sums(const Tree& tree) {
  constexpr std::array<std::int64_t, 4> counts{1, 5000, 16385, 70001};
  team<N> all;
  std::array<std::array<std::vector<std::vector<float>>, counts.size()>, N> results;
  all.on_all([&](std::size_t r, backend::context& c) {
    all.between.reserve_ordered(r, c, counts.back());
    auto from = backend::allocate<float>(c, counts.back());
    auto values = backend::allocate<float>(c, counts.back());
    all.meet();
    for (std::size_t k = 0; k < counts.size(); ++k) {
      const std::int64_t n = counts[k];
      const std::vector<float> own = mixed_values(r, n);
      backend::copy(c, n, own.data(), from.data());
      for (int i = 0; i < 3; ++i) {
        backend::replay(
            c, k + 1,
            [&] {
              backend::copy<float>(c, n, from.data(), values.data());
              all.between.start_ordered_sum(r, c, n, values.data());
              all.between.await_sums(r, c);
            },
            [&] { all.meet(); });
        auto& result = results[r][k].emplace_back(static_cast<std::size_t>(n));
        backend::copy<float>(c, n, values.data(), result.data());
        all.between.finish(r, c);
      }
    }
    backend::forget(c);
  });
  for (std::size_t k = 0; k < counts.size(); ++k) {
    std::array<std::vector<float>, N> own;
    for (std::size_t r = 0; r < N; ++r) own[r] = mixed_values(r, counts[k]);
    std::vector<float> expected(own[0].size());
    for (std::size_t i = 0; i < expected.size(); ++i) {
      std::array<float, N> each{};
      for (std::size_t r = 0; r < N; ++r) each[r] = own[r][i];
      expected[i] = tree(each);
    }
    CAPTURE(N, counts[k]);
    for (const auto& of_replica : results)
      for (const auto& result : of_replica[k]) CHECK((result == expected));
  }
}

}  // namespace

TEST_CASE("sums in order between devices are the tree's, to the bit", "[collective]") {
  LOCKSTEP_NEEDS_RANKS(2);
  check_ordered_sums<2>([](const std::array<float, 2>& v) { return v[0] + v[1]; });
}

TEST_CASE("sums in order between four devices are the tree's, to the bit", "[collective]") {
  LOCKSTEP_NEEDS_RANKS(4);
  check_ordered_sums<3>([](const std::array<float, 3>& v) { return (v[0] + v[1]) + v[2]; });
  check_ordered_sums<4>([](const std::array<float, 4>& v) { return (v[0] + v[1]) + (v[2] + v[3]); });
}

TEST_CASE("a replica that waits for one that will not come is told, and nothing hangs", "[collective]") {
  LOCKSTEP_NEEDS_RANKS(2);
  const bool recorded = GENERATE(false, true);
  team<2> both;
  std::array<bool, 2> threw{};
  both.on_all([&](std::size_t r, backend::context& c) {
    auto values = backend::allocate<float>(c, size);
    const auto sum = [&] {
      both.between.start_sum(r, c, size, values.data());
      both.between.await_sums(r, c);
    };
    both.meet();
    // Both come three times, after which the sum is recorded; then only the first does.
    for (int i = 0; i < 3; ++i) {
      if (recorded)
        backend::replay(c, 1, sum, [&] { both.meet(); });
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
