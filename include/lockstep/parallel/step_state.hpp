// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <exception>

namespace lockstep::detail {

/// What the N replicas of a step leave behind when they fail.
template <std::size_t N>
struct step_state {
  std::atomic<bool> failed{false};
  std::atomic<std::size_t> first{N};  ///< the replica that failed before all others; N while none has
  std::array<std::exception_ptr, N> errors{};

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
