// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <mutex>
#include <string>
#include <string_view>
#include <vector>

#include <sched.h>

#include <lockstep/comm/error.hpp>
#include <lockstep/core/spin.hpp>

/// \file
/// The meeting point of the ranks of one process. It knows which rank is in which call, and ends a call that cannot
/// complete.

namespace lockstep::comm::detail {

/// What a rank brings to a collective. All ranks must bring the same, except for `data`.
struct call {
  static constexpr int no_root = (std::numeric_limits<int>::min)();

  const char* name = "barrier";
  const char* element = nullptr;  ///< type of the elements; null for a call without a buffer
  std::size_t length = 0;
  int root = no_root;
  void* data = nullptr;

  [[nodiscard]] bool fits(const call& other) const {
    const auto same = [](const char* a, const char* b) {
      return a == b || (a != nullptr && b != nullptr && std::string_view(a) == b);
    };
    return same(name, other.name) && same(element, other.element) && length == other.length && root == other.root;
  }

  /// `all_reduce of 10 floats`
  [[nodiscard]] std::string text() const {
    std::string t = name;
    if (element != nullptr) t.append(" of ").append(std::to_string(length)).append(" ").append(element).append("s");
    if (root != no_root) t.append(" from rank ").append(std::to_string(root));
    return t;
  }
};

/// A collective has three parts: `enter`, which returns when every rank has entered the same call; work on the ranks'
/// buffers; and `finish`, which returns when every rank has finished its work.
///
/// Only `enter` can fail. One lock guards the decision whether a call is complete or the group is broken, so a rank
/// never gives up while others work on its buffer. Once all ranks have entered, each has only its work left to do, so
/// `finish` cannot fail.
class thread_group {
 public:
  thread_group(int world, double time_limit)
      : world_(world), limit_(time_limit), seats_(static_cast<std::size_t>(world)) {
    cpu_set_t allowed;
    CPU_ZERO(&allowed);
    if (sched_getaffinity(0, sizeof allowed, &allowed) == 0 && CPU_COUNT(&allowed) >= world) spins_ = spin_limit;
  }

  [[nodiscard]] int size() const noexcept { return world_; }

  /// What rank r brought to the call that all ranks have entered.
  [[nodiscard]] const call& brought(int r) const { return seats_[static_cast<std::size_t>(r)].now; }

  /// Throws value_error when the rank is taken or has been taken before.
  void take(int r) {
    const std::lock_guard lock(mutex_);
    seat& own = at(r);
    if (own.state != presence::free)
      throw value_error("threads::take", "a rank that is free", std::to_string(r) + ", which has been taken before",
                        "each rank has one communicator");
    own.state = presence::taken;
  }

  /// Says that rank r makes no more calls. Ranks that wait for it, or call later, get an exception.
  void leave(int r, std::string how) noexcept {
    {
      const std::lock_guard lock(mutex_);
      seat& own = at(r);
      if (own.state == presence::gone) return;
      own.state = presence::gone;
      own.how = std::move(how);
      broken_ = true;
    }
    wake_.notify_all();
  }

  /// Says that no more ranks will be taken: each rank that is still free leaves.
  void close() noexcept {
    for (int r = 0; r < world_; ++r) {
      bool never_taken = false;
      {
        const std::lock_guard lock(mutex_);
        never_taken = at(r).state == presence::free;
      }
      if (never_taken) leave(r, "was never taken");
    }
  }

  void enter(int r, const call& c) {
    std::uint64_t before = 0;
    {
      std::unique_lock lock(mutex_);
      seat& own = at(r);
      ++own.calls;
      own.now = c;
      if (broken_) throw failure(r);
      before = entered_.load(std::memory_order_relaxed);
      if (++inside_ == world_) {
        inside_ = 0;
        check();
        entered_.store(before + 1, std::memory_order_release);
        lock.unlock();
        wake_.notify_all();
      }
    }
    if (!spin(entered_, before)) await_all(r, before);
    // Safe without the lock: check() writes it again only after every rank, this one too, has entered the next call.
    if (!refusal_.empty())
      throw communicator_error(where(r), expected_, refusal_, "make all ranks call the same in the same order");
  }

  void finish() {
    const std::uint64_t before = finished_.load(std::memory_order_relaxed);
    if (working_.fetch_add(1, std::memory_order_acq_rel) == world_ - 1) {
      {
        const std::lock_guard lock(mutex_);
        working_.store(0, std::memory_order_relaxed);
        finished_.store(before + 1, std::memory_order_release);
      }
      wake_.notify_all();
      return;
    }
    if (spin(finished_, before)) return;
    std::unique_lock lock(mutex_);
    wake_.wait(lock, [&] { return finished_.load(std::memory_order_relaxed) != before; });
  }

 private:
  using counter = std::atomic<std::uint64_t>;
  enum class presence : unsigned char { free, taken, gone };

  struct alignas(64) seat {
    call now;
    std::uint64_t calls = 0;  ///< entered so far, including the present one
    presence state = presence::free;
    std::string how;  ///< how the rank left, for messages
  };

  seat& at(int r) { return seats_[static_cast<std::size_t>(r)]; }

  /// Returns true as soon as the counter differs from `old`, false when that takes too long.
  [[nodiscard]] bool spin(const counter& c, std::uint64_t old) const {
    return spin_until(spins_, [&] { return c.load(std::memory_order_acquire) != old; });
  }

  /// Sleeps until every rank has entered. Throws when a rank is gone or the time limit passes, which breaks the group.
  void await_all(int r, std::uint64_t before) {
    std::unique_lock lock(mutex_);
    const auto decided = [&] { return broken_ || entered_.load(std::memory_order_relaxed) != before; };
    if (limit_ <= 0) {
      wake_.wait(lock, decided);
    } else if (!wake_.wait_for(lock, std::chrono::duration<double>(limit_), decided)) {
      broken_ = true;
      expired_ = expiry(r);
      lock.unlock();
      wake_.notify_all();
      lock.lock();
    }
    if (entered_.load(std::memory_order_relaxed) == before) throw failure(r);
  }

  /// Refuses the call that all ranks have entered when they disagree about it or name a root that does not exist.
  void check() {
    refusal_.clear();
    const call& first = seats_.front().now;
    bool agree = true;
    for (const seat& s : seats_) agree = agree && s.now.fits(first);
    if (!agree) {
      expected_ = "the same call from all ranks";
      for (int r = 0; r < world_; ++r)
        refusal_.append(r == 0 ? "rank " : ", rank ").append(std::to_string(r)).append(": ").append(at(r).now.text());
    } else if (first.root != call::no_root && (first.root < 0 || first.root >= world_)) {
      expected_ = "a root from 0 to " + std::to_string(world_ - 1);
      refusal_ = std::to_string(first.root);
    }
  }

  [[nodiscard]] std::string where(int r) {
    const seat& own = at(r);
    return std::string("threads, rank ")
        .append(std::to_string(r))
        .append(" in call ")
        .append(std::to_string(own.calls))
        .append(" (")
        .append(own.now.text())
        .append(")");
  }

  /// `rank 2 (last in call 6, barrier)`
  [[nodiscard]] std::string last_seen(int r) {
    const seat& s = at(r);
    std::string text = "rank " + std::to_string(r);
    if (s.state == presence::free) return text + " (never taken)";
    if (s.calls == 0) return text + " (no call yet)";
    return text.append(" (last in call ").append(std::to_string(s.calls)).append(", ").append(s.now.text()).append(")");
  }

  /// Says that rank r waited too long, and for which ranks.
  [[nodiscard]] std::string expiry(int r) {
    std::string late;
    for (int other = 0; other < world_; ++other)
      if (at(other).calls < at(r).calls) late.append(late.empty() ? "" : ", ").append(last_seen(other));
    std::string seconds = std::to_string(limit_);
    seconds.erase(seconds.find_last_not_of('0') + 1);
    if (seconds.back() == '.') seconds.pop_back();
    return std::string("rank ")
        .append(std::to_string(r))
        .append(" waited ")
        .append(seconds)
        .append(" s in call ")
        .append(std::to_string(at(r).calls))
        .append(" (")
        .append(at(r).now.text())
        .append("), still without ")
        .append(late);
  }

  [[nodiscard]] communicator_error failure(int r) {
    std::string given = expired_;
    for (int other = 0; other < world_; ++other) {
      const seat& s = at(other);
      if (s.state != presence::gone) continue;
      if (!given.empty()) given += "; ";
      given.append("rank ").append(std::to_string(other)).append(" ").append(s.how);
      given.append(s.calls == 0 ? std::string(" before its first call")
                                : " after call " + std::to_string(s.calls) + " (" + s.now.text() + ")");
    }
    return communicator_error(where(r), "all " + std::to_string(world_) + " ranks", given,
                              "the group cannot go on; make a new one");
  }

  const int world_;
  const double limit_;
  int spins_ = 0;

  std::mutex mutex_;
  std::condition_variable wake_;
  // Guarded by the lock.
  std::vector<seat> seats_;
  int inside_ = 0;
  bool broken_ = false;
  std::string expired_;

  // Numbers of calls that all ranks have entered and finished: written under the lock, polled without it.
  alignas(64) counter entered_{0};
  alignas(64) counter finished_{0};
  alignas(64) std::atomic<int> working_{0};
  // What is wrong with the call that all ranks have entered; an empty refusal means nothing is.
  std::string expected_;
  std::string refusal_;
};

}  // namespace lockstep::comm::detail
