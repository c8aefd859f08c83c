// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <lockstep/core/config.hpp>

#include <array>
#include <atomic>
#include <cstddef>
#include <exception>

namespace lockstep::detail {

/// Where the N replicas of a step meet, and where they leave what they throw. A replica that has failed does no more
/// work, but comes to every further meeting, so that no other waits for it in vain.
template <std::size_t N>
class alignas(64) meeting {
 public:
  /// Calls f() for replica r unless it has failed before, and keeps what f throws.
  template <class F>
  void attempt(std::size_t r, const F& f) {
    if (!failed(r)) attempt_always(r, f);
  }
  /// The same, but calls f() even when replica r has failed before; keeps its first exception.
  template <class F>
  void attempt_always(std::size_t r, const F& f) {
    try {
      f();
    } catch (...) {
      if (!errors_[r]) errors_[r] = std::current_exception();
      std::size_t none = N;
      first_.compare_exchange_strong(none, r);
      failed_.store(true, std::memory_order_relaxed);
    }
  }
  /// Replica r has begun the change that the step is for, such as the update. When it has failed, before or since, the
  /// change is half done, since other replicas may have made theirs.
  void settle_change(std::size_t r) noexcept {
    if (failed(r)) half_done_.store(true, std::memory_order_relaxed);
  }

  /// Waits until all replicas have come, and returns true when none has failed. The last to come takes the verdict for
  /// all: a replica that is ahead may fail in what follows while another is still leaving.
  template <class Team>
  [[nodiscard]] bool come(Team& team) {
    return team.barrier([&] { return !failed(); });
  }

  [[nodiscard]] bool failed() const noexcept { return failed_.load(std::memory_order_relaxed); }
  [[nodiscard]] bool failed(std::size_t r) const noexcept { return failed() && errors_[r] != nullptr; }
  /// True when some replicas may have made the change that the step is for, and others have not.
  [[nodiscard]] bool half_done() const noexcept { return half_done_.load(std::memory_order_relaxed); }

  /// What each replica threw.
  [[nodiscard]] const std::array<std::exception_ptr, N>& errors() const noexcept { return errors_; }
  /// Keeps only the first failure: the others failed because of it.
  void keep_first() noexcept {
    for (std::size_t r = 0; r < N; ++r)
      if (r != first_.load()) errors_[r] = nullptr;
  }

 private:
  // While nobody fails nothing here is written, so that every processor keeps its copy of these cache lines, which the
  // object shares with no other.
  std::atomic<bool> failed_{false};
  std::atomic<bool> half_done_{false};
  std::atomic<std::size_t> first_{N};  ///< the replica that failed before all others; N while none has
  std::array<std::exception_ptr, N> errors_{};
};

}  // namespace lockstep::detail
