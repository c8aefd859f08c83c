// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <exception>
#include <memory>
#include <mutex>
#include <optional>
#include <thread>
#include <type_traits>
#include <utility>
#include <vector>

#include <lockstep/core/error.hpp>
#include <lockstep/core/fork_guard.hpp>
#include <lockstep/core/start_thread.hpp>

namespace lockstep::data::detail {

/// A bounded ring of reusable slots between one filling thread and one consumer. With a single slot nothing can be
/// filled ahead, so the consumer's thread fills it.
///
/// `fill(slot, index)` is called for 0, 1, ... in order. An exception that it throws reaches the consumer at that
/// index, after every slot filled before it, and ends the run. A `fill` that returns bool ends the run by returning
/// false: it had nothing for that slot.
template <class Slot, class Fill>
class prefetcher {
 public:
  /// `slots` must not be empty.
  prefetcher(std::vector<Slot> slots, Fill fill) : slots_(std::move(slots)), fill_(std::move(fill)) {}

  prefetcher(const prefetcher&) = delete;
  prefetcher& operator=(const prefetcher&) = delete;
  ~prefetcher() { stop(); }

  [[nodiscard]] Fill& fill() noexcept { return fill_; }
  [[nodiscard]] const Fill& fill() const noexcept { return fill_; }

  /// Begins a run of `count` slots. The previous run must have been stopped. Calls open() before any slot is filled,
  /// and only once there is a filling thread, where there is to be one: what `open` begins may be there only once.
  /// Throws resource_error when the thread cannot be started, and what `open` throws; no run is begun then.
  template <class Open>
  void start(std::int64_t count, const Open& open) {
    if (slots_.size() < 2 || count == 0) {
      open();
      count_ = count;
      return;
    }
    if (!fork_ || fork_->crossed()) fork_.emplace();
    std::unique_lock lock(sync_->mutex);  // the thread waits for it
    try {
      count_ = count;
      thread_ = lockstep::detail::start_thread(
          {"loader", "the thread that prepares batches", "set .prefetch = 0 to do without one"}, [this] { produce(); });
      open();
    } catch (...) {
      stopping_ = true;  // before the thread can take the mutex: what is not open is not read
      lock.unlock();
      stop();
      throw;
    }
  }

  void start(std::int64_t count) {
    start(count, [] {});
  }

  /// Waits for the next slot to consume and returns it, or nullptr when the run is over. Rethrows what filling the slot
  /// threw. Throws value_error in a forked child of the process that began the run with a thread.
  [[nodiscard]] Slot* front() {
    if (!thread_.joinable()) {
      if (consumed_ < count_ && (produced_ > consumed_ || fill_here())) return &slot_at(consumed_);
      stop();
      return nullptr;
    }
    if (fork_->crossed()) {
      stop();
      throw value_error("loader", "a walk that goes on in the process that began it", "one in a forked child of it",
                        "threads do not survive fork(); begin a walk in the child");
    }
    std::unique_lock lock(sync_->mutex);
    sync_->filled.wait(lock, [this] { return produced_ > consumed_ || consumed_ == count_ || failure_; });
    if (produced_ > consumed_) return &slot_at(consumed_);
    const std::exception_ptr failure = std::exchange(failure_, nullptr);
    lock.unlock();
    stop();
    if (failure) std::rethrow_exception(failure);
    return nullptr;
  }

  /// Hands the front slot back for refilling.
  void pop() {
    // In a forked child the lock may be held for ever; the next `front` says so.
    if (thread_.joinable() && fork_->crossed()) return;
    {
      const std::scoped_lock lock(sync_->mutex);
      ++consumed_;
    }
    sync_->freed.notify_one();
  }

  /// Ends the run at any point, and drops the slots filled ahead.
  void stop() noexcept {
    if (thread_.joinable() && fork_->crossed()) {
      thread_.detach();
      static_cast<void>(sync_.release());
      sync_ = std::make_unique<meeting_point>();
    }
    {
      const std::scoped_lock lock(sync_->mutex);
      stopping_ = true;
    }
    sync_->freed.notify_one();
    if (thread_.joinable()) thread_.join();
    stopping_ = false;
    failure_ = nullptr;
    count_ = produced_ = consumed_ = 0;
  }

 private:
  [[nodiscard]] Slot& slot_at(std::int64_t index) noexcept {
    return slots_[static_cast<std::size_t>(index) % slots_.size()];
  }

  /// Fills the slot; returns whether there was something for it.
  [[nodiscard]] bool fill_slot(std::int64_t index) {
    if constexpr (std::is_same_v<decltype(fill_(slot_at(index), index)), bool>) {
      return fill_(slot_at(index), index);
    } else {
      fill_(slot_at(index), index);
      return true;
    }
  }

  [[nodiscard]] bool fill_here() {
    try {
      if (!fill_slot(consumed_)) return false;
    } catch (...) {
      stop();
      throw;
    }
    ++produced_;
    return true;
  }

  void produce() noexcept {
    for (std::int64_t index = 0; index < count_; ++index) {
      {
        std::unique_lock lock(sync_->mutex);
        sync_->freed.wait(
            lock, [this, index] { return stopping_ || index - consumed_ < static_cast<std::int64_t>(slots_.size()); });
        if (stopping_) return;
      }
      std::exception_ptr failure;
      bool filled = false;
      try {
        filled = fill_slot(index);
      } catch (...) {
        failure = std::current_exception();
      }
      {
        const std::scoped_lock lock(sync_->mutex);
        if (filled)
          produced_ = index + 1;
        else if (failure != nullptr)
          failure_ = std::move(failure);
        else
          count_ = index;
      }
      sync_->filled.notify_one();
      if (!filled) return;
    }
  }

  std::vector<Slot> slots_;
  Fill fill_;
  /// What the two threads wait on. A forked child leaves it alone: the other thread does not exist there, and may have
  /// been waiting on it or holding the mutex when the process forked.
  struct meeting_point {
    std::mutex mutex;  // guards count_ to failure_ while a thread runs
    std::condition_variable filled;
    std::condition_variable freed;
  };
  std::unique_ptr<meeting_point> sync_ = std::make_unique<meeting_point>();
  std::int64_t count_ = 0;  // while a thread runs, only that thread writes it
  std::int64_t produced_ = 0;
  std::int64_t consumed_ = 0;
  bool stopping_ = false;
  std::exception_ptr failure_;
  std::optional<lockstep::detail::fork_guard> fork_;  ///< of the process that started the thread
  std::thread thread_;
};

}  // namespace lockstep::data::detail
