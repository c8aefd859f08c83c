// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <algorithm>
#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <span>

#include <lockstep/parallel/timeline.hpp>

namespace lockstep::detail {

/// When the gradients of each bucket were ready on the last replica, in the passes that a calibration makes.
template <std::size_t Count>
class bucket_clock {
 public:
  /// Before a pass.
  void start() noexcept {
    for (auto& each : ready_) each.store(0, std::memory_order_relaxed);
    start_ = timeline::now();
  }
  void stop() noexcept { start_ = 0; }

  /// A replica has made the gradients of a bucket. Does nothing outside of such a pass.
  void note(int bucket) noexcept {
    if (start_ == 0 || bucket < 0) return;
    auto& ready = ready_[static_cast<std::size_t>(bucket)];
    const std::int64_t now = timeline::now() - start_;
    for (std::int64_t seen = ready.load(std::memory_order_relaxed); seen < now;)
      if (ready.compare_exchange_weak(seen, now, std::memory_order_relaxed)) break;
  }

  /// Lowers `seconds` to those of the last pass where it was faster.
  void take_least(std::array<double, Count>& seconds) const noexcept {
    for (std::size_t b = 0; b < Count; ++b)
      seconds[b] = (std::min)(seconds[b], 1e-9 * static_cast<double>(ready_[b].load(std::memory_order_relaxed)));
  }

 private:
  std::array<std::atomic<std::int64_t>, Count> ready_{};
  std::int64_t start_ = 0;
};

/// Seconds of the fastest of five sums of some numbers over the ranks.
template <class Communicator>
[[nodiscard]] double seconds_to_reduce(Communicator& communicator, std::span<float> numbers) {
  double best = std::numeric_limits<double>::infinity();
  for (int i = 0; i < 5; ++i) {
    communicator.barrier();
    const std::int64_t begin = timeline::now();
    communicator.all_reduce(numbers);
    best = (std::min)(best, 1e-9 * static_cast<double>(timeline::now() - begin));
  }
  return best;
}

}  // namespace lockstep::detail
