// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <exception>
#include <limits>
#include <memory>
#include <thread>
#include <type_traits>
#include <utility>

#include <lockstep/core/fork_guard.hpp>
#include <lockstep/core/start_thread.hpp>

namespace lockstep::detail {

/// The communication thread of a trainer. A step has `Parts` parts. When all N replicas have completed a part, the
/// thread runs the job for it, in the order of the parts, while the replicas go on. It waits in the
/// kernel, and so takes no time from the replicas.
template <std::size_t Parts, int N>
class bucket_thread {
 public:
  /// Throws resource_error when the thread cannot be started.
  bucket_thread()
      : thread_(start_thread({"data_parallel", "the communication's thread", "use fewer ranks on this machine"},
                             [this] { serve(); })) {}
  bucket_thread(const bucket_thread&) = delete;
  bucket_thread& operator=(const bucket_thread&) = delete;
  ~bucket_thread() {
    if (fork_.crossed()) {
      thread_.detach();
      return;
    }
    stopping_.store(true, std::memory_order_release);
    round_.fetch_add(1, std::memory_order_release);
    round_.notify_all();
    thread_.join();
  }

  /// Opens a round: the thread calls job(p) for p = 0..Parts-1, and no further one after a call that throws. `job` must
  /// live until `wait` has returned.
  template <class Job>
  void start(Job& job) {
    for (auto& each : arrived_) each.count.store(0, std::memory_order_relaxed);
    done_.store(0, std::memory_order_relaxed);
    finished_.store(0, std::memory_order_relaxed);
    error_ = nullptr;
    job_ = const_cast<void*>(static_cast<const void*>(std::addressof(job)));
    call_ = [](void* j, std::size_t p) { (*static_cast<Job*>(j))(p); };
    round_.fetch_add(1, std::memory_order_release);
    round_.notify_all();
  }

  /// Tells that a replica has completed part p. Each replica calls it once for every part of a round.
  void arrive(std::size_t p) noexcept {
    auto& count = arrived_[p].count;
    if (count.fetch_add(1, std::memory_order_acq_rel) == N - 1) count.notify_one();
  }

  /// Waits until the job for part p has returned. False when it never will, since an earlier call has thrown.
  [[nodiscard]] bool await(std::size_t p) noexcept {
    std::uint32_t now = finished_.load(std::memory_order_acquire);
    for (; now <= p; now = finished_.load(std::memory_order_acquire)) finished_.wait(now, std::memory_order_acquire);
    return now != gave_up;
  }

  /// Returns when the round is over.
  void wait() noexcept {
    for (std::uint32_t done = done_.load(std::memory_order_acquire); done == 0;
         done = done_.load(std::memory_order_acquire))
      done_.wait(0, std::memory_order_acquire);
  }

  /// What the job threw in the last round, or null.
  [[nodiscard]] const std::exception_ptr& error() const noexcept { return error_; }

  /// The part whose job runs, or for which the thread waits.
  [[nodiscard]] std::size_t position() const noexcept { return position_.load(std::memory_order_relaxed); }

  /// The number of replicas that have completed part p in this round.
  [[nodiscard]] int arrivals(std::size_t p) const noexcept {
    return static_cast<int>(arrived_[p].count.load(std::memory_order_relaxed));
  }

 private:
  static constexpr std::uint32_t gave_up = (std::numeric_limits<std::uint32_t>::max)();

  struct alignas(64) counter {
    std::atomic<std::uint32_t> count{0};
  };

  void serve() {
    for (std::uint32_t seen = 0;;) {
      round_.wait(seen, std::memory_order_acquire);
      ++seen;
      if (stopping_.load(std::memory_order_acquire)) return;
      try {
        for (std::size_t p = 0; p < Parts; ++p) {
          position_.store(p, std::memory_order_relaxed);
          auto& count = arrived_[p].count;
          for (std::uint32_t now = count.load(std::memory_order_acquire); now < N;
               now = count.load(std::memory_order_acquire))
            count.wait(now, std::memory_order_acquire);
          call_(job_, p);
          finished_.store(static_cast<std::uint32_t>(p + 1), std::memory_order_release);
          finished_.notify_all();
        }
      } catch (...) {
        error_ = std::current_exception();
        finished_.store(gave_up, std::memory_order_release);
        finished_.notify_all();
      }
      done_.store(1, std::memory_order_release);
      done_.notify_all();
    }
  }

  std::array<counter, Parts> arrived_{};
  alignas(64) std::atomic<std::uint32_t> round_{0};
  alignas(64) std::atomic<std::uint32_t> done_{0};
  std::atomic<std::uint32_t> finished_{0};  ///< parts of the round whose jobs have returned
  std::atomic<std::size_t> position_{0};
  std::atomic<bool> stopping_{false};
  std::exception_ptr error_;
  void* job_ = nullptr;
  void (*call_)(void*, std::size_t) = nullptr;
  fork_guard fork_;
  std::thread thread_;  // last: it reads all of the above
};

}  // namespace lockstep::detail
