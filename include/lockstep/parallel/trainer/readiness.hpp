// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <array>
#include <atomic>
#include <cstddef>
#include <thread>
#include <utility>

#include <lockstep/core/error.hpp>
#include <lockstep/parallel/trainer/meeting.hpp>

namespace lockstep::detail {

/// Counts the replicas that have prepared the work they are about to give their devices. A replica gives its device
/// work that waits for other devices only once all replicas are ready: a call of theirs that allocates, frees or loads
/// may wait for that device.
template <std::size_t N>
class readiness {
 public:
  explicit readiness(const meeting<N>& all) : all_(all) {}

  /// Replica r says that it has prepared its work. Further calls of the same replica change nothing.
  void come(std::size_t r) {
    if (!std::exchange(come_[r], true)) ready_.fetch_add(1, std::memory_order_release);
  }
  /// The same, and waits until all replicas are ready. Throws backend_error when one fails meanwhile.
  void await(std::size_t r) {
    come(r);
    while (ready_.load(std::memory_order_acquire) < N) {
      if (all_.failed())
        throw backend_error("data_parallel", "replicas that all take part", "one that has failed", "see what it threw");
      std::this_thread::yield();
    }
  }

 private:
  const meeting<N>& all_;
  std::atomic<std::size_t> ready_{0};
  std::array<bool, N> come_{};
};

}  // namespace lockstep::detail
