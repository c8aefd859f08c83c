// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <algorithm>
#include <array>
#include <atomic>
#include <bit>
#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <mutex>
#include <stdexcept>
#include <utility>
#include <vector>

#include "support/queued_work.hpp"

namespace lockstep_test::queued_detail {

/// How many sums between replicas were enqueued, by all of them.
inline std::atomic<int> started_sums{0};
/// Those of them in a fixed order.
inline std::atomic<int> started_ordered_sums{0};
/// How many of them were of values in memory that the collective had given.
inline std::atomic<int> started_shared_sums{0};
/// How many collectives were to end while recordings held work of theirs, where NCCL would wait forever.
inline std::atomic<int> held_collectives{0};

/// Sums between the contexts of N replicas, whose threads meet while they work off their queues.
template <std::size_t N>
class collective {
 public:
  ~collective() {
    if (held_.use_count() > 1) ++held_collectives;
  }

  void join(std::size_t r, context&, std::size_t size) {
    sums_[r] = std::make_shared<worker>();
    const std::lock_guard lock(state_->mutex);
    state_->size = size;
  }

  /// All replicas have to come, as to NCCL's agreement.
  [[nodiscard]] buffer<float> allocate_shared(std::size_t r, context& c, std::int64_t n) {
    state_->meet();
    buffer<float> own(c, n);
    shared_[r] = {own.data(), own.data() + n};
    return own;
  }

  void start_sum(std::size_t r, context& c, std::int64_t n, float* values) {
    start(r, c, n, values, [](const shared& of, std::size_t i) {
      float sum = 0;
      for (std::size_t k = 0; k < of.size; ++k) sum += of.offered[k][i];
      return sum;
    });
  }

  void reserve_ordered(std::size_t r, context&, std::int64_t n) { room_[r] = n; }

  void start_ordered_sum(std::size_t r, context& c, std::int64_t n, float* values) {
    if (n > room_[r]) throw std::runtime_error("more values than there is room for");
    start(r, c, n, values, [](const shared& of, std::size_t i) { return tree_of(of, i, 0, of.size); });
    ++started_ordered_sums;
  }

  void await_sums(std::size_t r, context& c) {
    c.submit([sums = sums_[r]] { sums->finish(); });
  }

  void finish(std::size_t, context& c) { c.queue()->finish(); }

  void abort() noexcept {
    const std::lock_guard lock(state_->mutex);
    state_->aborted = true;
    state_->changed.notify_all();
  }

 private:
  struct shared {
    /// Returns when all N have come; throws once it is aborted.
    void meet() {
      std::unique_lock lock(mutex);
      if (aborted) throw std::runtime_error("the collective was aborted");
      const std::uint64_t phase = phases;
      if (++arrived == size) {
        arrived = 0;
        ++phases;
        changed.notify_all();
      }
      changed.wait(lock, [&] { return phases != phase || aborted; });
      if (phases == phase) throw std::runtime_error("the collective was aborted");
    }

    std::mutex mutex;
    std::condition_variable changed;
    std::array<const float*, N> offered{};
    std::size_t size = N;  ///< replicas that take part
    std::size_t arrived = 0;
    std::uint64_t phases = 0;
    bool aborted = false;
  };

  /// In place: each element becomes what sum(what all offer, its index) gives.
  template <class Sum>
  void start(std::size_t r, context& c, std::int64_t n, float* values, Sum sum) {
    {
      const std::lock_guard lock(state_->mutex);
      if (state_->aborted) throw std::runtime_error("the collective was aborted");
    }
    c.submit([state = state_, held = c.queue()->recording() ? held_ : nullptr, sums = sums_[r], r, n, values, sum] {
      sums->submit([=] {
        state->offered[r] = to_host(values);
        state->meet();
        std::vector<float> all(static_cast<std::size_t>(n));
        for (std::size_t i = 0; i < all.size(); ++i) all[i] = sum(*state, i);
        state->meet();
        std::copy(all.begin(), all.end(), to_host(values));
      });
    });
    ++started_sums;
    if (shared_[r].first <= values && values + n <= shared_[r].second) ++started_shared_sums;
  }

  static float tree_of(const shared& of, std::size_t i, std::size_t first, std::size_t count) {
    if (count == 1) return of.offered[first][i];
    const std::size_t left = std::bit_floor(count - 1);
    return tree_of(of, i, first, left) + tree_of(of, i, first + left, count - left);
  }

  std::shared_ptr<shared> state_ = std::make_shared<shared>();
  std::array<std::int64_t, N> room_{};
  std::array<std::shared_ptr<worker>, N> sums_;
  std::array<std::pair<const float*, const float*>, N> shared_{};  ///< begin and end
  std::shared_ptr<int> held_ = std::make_shared<int>();            ///< by what was recorded
};

}  // namespace lockstep_test::queued_detail
