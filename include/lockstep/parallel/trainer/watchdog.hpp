// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <algorithm>
#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <mutex>
#include <thread>
#include <utility>

#include <lockstep/core/start_thread.hpp>

namespace lockstep::detail {

/// Watches that work ends in time. Its thread looks at a clock four times in the time limit, and calls
/// `late(seconds, give_up)` once for work that has run for longer. give_up() returns true when that very work still
/// runs; from then on nobody watches it. `begin` and `end` cost one atomic store each.
class watchdog {
  using clock = std::chrono::steady_clock;

 public:
  /// Starts the thread, which calls `late`. Throws resource_error when it cannot be started.
  template <class Late>
  watchdog(double seconds, Late late)
      : limit_(std::chrono::duration_cast<clock::duration>(std::chrono::duration<double>(seconds))),
        thread_(start_thread({"data_parallel", "the watchdog's thread", "set no time_limit"},
                             [this, late = std::move(late)] { watch(late); })) {}
  watchdog(const watchdog&) = delete;
  watchdog& operator=(const watchdog&) = delete;
  ~watchdog() {
    {
      const std::lock_guard lock(mutex_);
      stopping_ = true;
    }
    wake_.notify_all();
    thread_.join();
  }

  void begin() noexcept { begun_.store(clock::now().time_since_epoch().count(), std::memory_order_release); }
  void end() noexcept { begun_.store(0, std::memory_order_release); }

 private:
  template <class Late>
  void watch(const Late& late) {
    const auto pause = (std::max)(limit_ / 4, clock::duration(std::chrono::microseconds(100)));
    clock::rep told = 0;
    std::unique_lock lock(mutex_);
    while (!wake_.wait_for(lock, pause, [&] { return stopping_; })) {
      const clock::rep begun = begun_.load(std::memory_order_acquire);
      const auto age = clock::now().time_since_epoch() - clock::duration(begun);
      if (begun == 0 || begun == told || age < limit_) continue;
      told = begun;
      lock.unlock();
      late(std::chrono::duration<double>(age).count(), [&] {
        clock::rep same = begun;
        return begun_.compare_exchange_strong(same, 0, std::memory_order_acq_rel);
      });
      lock.lock();
    }
  }

  clock::duration limit_;
  std::atomic<clock::rep> begun_{0};
  bool stopping_ = false;
  std::mutex mutex_;
  std::condition_variable wake_;
  std::thread thread_;  // last: it reads all of the above
};

/// Lives while an engine's pass runs: tells other threads which step runs, and the watchdog when it began.
template <class Engine>
class watched_pass {
 public:
  explicit watched_pass(Engine& engine) : guard_(engine.guard.get()) {
    engine.now.store(engine.steps, std::memory_order_relaxed);
    if (guard_) guard_->begin();
  }
  watched_pass(const watched_pass&) = delete;
  watched_pass& operator=(const watched_pass&) = delete;
  ~watched_pass() {
    if (guard_) guard_->end();
  }

 private:
  watchdog* guard_;
};

}  // namespace lockstep::detail
