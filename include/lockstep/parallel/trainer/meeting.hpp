// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <exception>
#include <thread>
#include <utility>

#include <lockstep/core/error.hpp>

namespace lockstep::detail {

/// What the N replicas of a step leave behind when they fail.
template <std::size_t N>
struct step_state {
  std::atomic<bool> failed{false};
  std::atomic<std::size_t> first{N};  ///< the replica that failed before all others; N while none has
  std::array<std::exception_ptr, N> errors{};
  std::atomic<std::size_t> ready{0};  ///< replicas that are `come`
  std::array<bool, N> come{};

  /// For replica r, as often as it likes: all that it gives its device next is prepared.
  void come_ready(std::size_t r) {
    if (!std::exchange(come[r], true)) ready.fetch_add(1, std::memory_order_release);
  }
  /// The same, and waits until all replicas are. Throws backend_error when one has failed meanwhile.
  void await_ready(std::size_t r) {
    come_ready(r);
    while (ready.load(std::memory_order_acquire) < N) {
      if (failed.load(std::memory_order_relaxed))
        throw backend_error("data_parallel", "replicas that all take part", "one that has failed", "see what it threw");
      std::this_thread::yield();
    }
  }

  /// Calls f() for replica r, and keeps what it throws, unless something was kept before.
  template <class F>
  void attempt(std::size_t r, const F& f) {
    try {
      f();
    } catch (...) {
      if (!errors[r]) errors[r] = std::current_exception();
      std::size_t none = N;
      first.compare_exchange_strong(none, r);
      failed.store(true, std::memory_order_relaxed);
    }
  }

  /// Keeps only what failed first: the others failed because of it.
  void keep_first() {
    for (std::size_t r = 0; r < N; ++r)
      if (r != first.load()) errors[r] = nullptr;
  }
};

/// A key of two parts for `replay`.
[[nodiscard]] constexpr std::uint64_t mix(std::uint64_t a, std::uint64_t b) {
  return (a ^ (b + 0x9E3779B97F4A7C15U + (a << 6U) + (a >> 2U))) * 0x100000001B3U;
}

}  // namespace lockstep::detail
