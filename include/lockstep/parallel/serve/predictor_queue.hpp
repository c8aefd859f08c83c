// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <algorithm>
#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <exception>
#include <mutex>
#include <string>
#include <utility>
#include <vector>

#include <lockstep/core/error.hpp>
#include <lockstep/parallel/serve/predictor_options.hpp>

/// \file
/// The queue in which requests to a predictor wait and become batches. It knows neither models nor tensors.

namespace lockstep::detail {

/// A request. The caller owns it until it is pushed, and again once it is answered; the queue itself allocates nothing.
struct prediction {
  using clock = std::chrono::steady_clock;

  std::int64_t samples = 0;
  /// Called outside the lock when a request that nobody waits for is answered; may destroy the request.
  void (*on_answer)(prediction&) noexcept = nullptr;
  std::exception_ptr error;  ///< the answer, when there are no outputs

  // For the queue alone:
  std::int64_t taken = 0;       ///< samples that replicas have taken
  std::int64_t unanswered = 0;  ///< samples without outputs
  clock::time_point arrival;
  prediction* next = nullptr;
  bool answered = false;
  std::condition_variable ready;
};

/// Samples [first, first + count) of a request, as part of a batch.
struct prediction_part {
  prediction* request = nullptr;
  std::int64_t first = 0;
  std::int64_t count = 0;
  std::exception_ptr error;  ///< why the part has no outputs, if it has none
};

/// Keeps requests in order of arrival, and cuts and joins them into batches for the replicas. Safe for any number of
/// threads.
class prediction_queue {
 public:
  prediction_queue(const predictor_options& options, int replicas)
      : max_batch_(options.max_batch),
        max_pending_(options.max_pending),
        latency_(options.latency),
        replicas_(replicas) {}

  /// Appends a request. Throws value_error when too many samples wait or the queue is closed.
  void push(prediction& request) {
    const std::lock_guard lock(mutex_);
    append(request);
  }

  /// Appends a request and returns when it is answered. Throws as `push`; a replica's error stays in the request.
  void push_and_wait(prediction& request) {
    std::unique_lock lock(mutex_);
    append(request);
    ++visitors_;
    request.ready.wait(lock, [&] { return request.answered; });
    leave();
  }

  /// For a replica: waits for the next batch. Returns false when the queue is closed and no request waits.
  [[nodiscard]] bool take(std::vector<prediction_part>& parts) {
    parts.clear();
    std::unique_lock lock(mutex_);
    for (;;) {
      if (first_ == nullptr && closed_) return false;
      if (first_ == nullptr || is_held_back(*first_))
        work_.wait(lock);
      else if (is_due())
        break;
      else
        work_.wait_until(lock, first_->arrival + latency_);
    }
    collect(parts);
    ++running_;
    // Only one replica is woken at a time: a replica that takes work wakes the next if there is more.
    if (first_ != nullptr) work_.notify_one();
    return true;
  }

  /// For a replica: answers the parts that it took.
  void finish(std::vector<prediction_part>& parts) noexcept {
    prediction* to_call = nullptr;
    {
      const std::lock_guard lock(mutex_);
      const auto now = prediction::clock::now();
      std::int64_t samples = 0;
      for (prediction_part& part : parts) {
        prediction& request = *part.request;
        samples += part.count;
        // The request keeps the first error. The queue keeps none: callers alone decide how long their errors live.
        if (!request.error) request.error = std::move(part.error);
        part.error = nullptr;
        request.unanswered -= part.count;
        if (request.unanswered > 0) continue;
        ++done_.requests;
        waited_ += now - request.arrival;
        if (request.on_answer != nullptr) {
          request.next = to_call;
          to_call = &request;
        } else {
          // Under the lock, since the caller may destroy the request as soon as it goes on.
          request.answered = true;
          request.ready.notify_one();
        }
      }
      ++done_.batches;
      done_.samples += samples;
      done_.largest_batch = (std::max)(done_.largest_batch, samples);
      if (--running_ == 0 && paused_) settled_.notify_all();
    }
    while (to_call != nullptr) {
      prediction* const next = to_call->next;
      to_call->on_answer(*to_call);
      to_call = next;
    }
  }

  /// While a pause lives, no replica works: each has finished its batch, and every request that was begun is complete.
  class pause {
   public:
    explicit pause(prediction_queue& queue) : queue_(queue) {
      std::unique_lock lock(queue_.mutex_);
      ++queue_.visitors_;
      queue_.settled_.wait(lock, [&] { return !queue_.paused_; });
      queue_.paused_ = true;
      queue_.settled_.wait(lock, [&] {
        return queue_.running_ == 0 && (queue_.first_ == nullptr || queue_.is_held_back(*queue_.first_));
      });
    }
    pause(const pause&) = delete;
    pause& operator=(const pause&) = delete;
    ~pause() {
      const std::lock_guard lock(queue_.mutex_);
      queue_.paused_ = false;
      queue_.settled_.notify_all();
      queue_.work_.notify_all();
      queue_.leave();
    }

   private:
    prediction_queue& queue_;
  };

  /// Refuses further requests, has the waiting ones answered without delay, and returns when no caller is inside.
  void close() noexcept {
    std::unique_lock lock(mutex_);
    closed_ = true;
    work_.notify_all();
    settled_.wait(lock, [&] { return visitors_ == 0; });
  }

  [[nodiscard]] predictor_statistics statistics() const {
    const std::lock_guard lock(mutex_);
    predictor_statistics all = done_;
    all.waiting = waiting_;
    if (all.requests > 0)
      all.mean_latency = std::chrono::duration<double>(waited_).count() / static_cast<double>(all.requests);
    return all;
  }

 private:
  void append(prediction& request) {
    if (closed_)
      throw value_error("predictor", "requests while the predictor lives", "one while it is being destroyed",
                        "let the threads that ask end before it");
    if (waiting_ >= max_pending_) {
      ++done_.refused;
      throw value_error("predictor", "fewer than " + std::to_string(max_pending_) + " samples that wait",
                        std::to_string(waiting_), "ask again later, ask less often, or raise max_pending");
    }
    request.unanswered = request.samples;
    request.arrival = prediction::clock::now();
    const bool full_before = waiting_ >= max_batch_;
    waiting_ += request.samples;
    const bool was_empty = first_ == nullptr;
    (was_empty ? first_ : last_->next) = &request;
    last_ = &request;
    // One replica must watch the time limit of the first request, and one must take a full batch.
    if (was_empty || (!full_before && waiting_ >= max_batch_)) work_.notify_one();
  }

  /// True when a pause holds the request back. A request already begun is finished even in a pause, so that all of it
  /// sees the same parameters.
  [[nodiscard]] bool is_held_back(const prediction& request) const { return paused_ && request.taken == 0; }

  /// Whether a free replica takes the waiting samples at once, or leaves them a while for others to join.
  [[nodiscard]] bool is_due() const {
    return closed_ || first_->taken > 0 || running_ == 0 || waiting_ >= max_batch_ ||
           prediction::clock::now() >= first_->arrival + latency_;
  }

  void collect(std::vector<prediction_part>& parts) {
    std::int64_t room = max_batch_;
    while (first_ != nullptr && room > 0 && !is_held_back(*first_)) {
      prediction& request = *first_;
      std::int64_t count = (std::min)(request.samples - request.taken, room);
      // A request larger than a batch is dealt to all replicas in equal parts.
      if (request.samples > max_batch_) count = (std::min)(count, (request.samples + replicas_ - 1) / replicas_);
      parts.push_back({&request, request.taken, count, nullptr});
      request.taken += count;
      waiting_ -= count;
      room -= count;
      if (request.taken < request.samples) return;
      first_ = std::exchange(request.next, nullptr);
    }
  }

  void leave() noexcept {
    if (--visitors_ == 0 && closed_) settled_.notify_all();
  }

  std::int64_t max_batch_;
  std::int64_t max_pending_;
  std::chrono::microseconds latency_;
  std::int64_t replicas_;

  mutable std::mutex mutex_;         // guards all members below
  std::condition_variable work_;     // for replicas
  std::condition_variable settled_;  // for threads that pause or close
  prediction* first_ = nullptr;
  prediction* last_ = nullptr;  // valid when first_ is not null
  std::int64_t waiting_ = 0;    // samples that no replica has taken
  int running_ = 0;             // batches that replicas run
  int visitors_ = 0;            // threads that wait for an answer, or hold a pause
  bool paused_ = false;
  bool closed_ = false;
  predictor_statistics done_;
  prediction::clock::duration waited_{0};
};

}  // namespace lockstep::detail
