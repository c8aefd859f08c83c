// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <algorithm>
#include <atomic>
#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <exception>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <stdexcept>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include <lockstep/backend/cpu/cpu.hpp>

/// \file
/// How the queued backend's work is given, recorded and done, and the memory that it works in.

namespace lockstep_test {

namespace ls = lockstep;

namespace queued_detail {

/// Device addresses lie so far from any of the host's that reading one ends the program.
inline constexpr std::uintptr_t distance = std::uintptr_t{1} << 56U;

template <class T>
T* to_device(T* host) {
  return host == nullptr ? nullptr : reinterpret_cast<T*>(reinterpret_cast<std::uintptr_t>(host) + distance);
}
template <class T>
T* to_host(T* device) {
  return device == nullptr ? nullptr : reinterpret_cast<T*>(reinterpret_cast<std::uintptr_t>(device) - distance);
}

using job = std::function<void()>;

/// What is to fail, by the number of a device; -1: nothing.
struct faults {
  static inline std::atomic<int> entering{-1};  ///< to make the device current, once after `entries_left` successes
  static inline std::atomic<int> entries_left{0};
  static inline std::atomic<int> update{-1};  ///< the next update, in the device's work
};

/// How often recorded work was run again, by all contexts.
inline std::atomic<int> replays{0};

/// A queue and the thread that works it off.
class worker {
 public:
  worker() : thread_([this] { serve(); }) {}
  ~worker() {
    {
      const std::lock_guard lock(mutex_);
      stopping_ = true;
    }
    changed_.notify_all();
    thread_.join();
  }

  void submit(job work) {
    if (recording_ != nullptr) return recording_->push_back(std::move(work));
    {
      const std::lock_guard lock(mutex_);
      jobs_.push_back(std::move(work));
    }
    changed_.notify_all();
  }

  /// Waits for all that was submitted, and throws the first exception of it.
  void finish() {
    refuse_in_record("finish");
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [&] { return jobs_.empty() && !busy_; });
    if (error_) std::rethrow_exception(std::exchange(error_, nullptr));
  }
  void finish_quietly() noexcept {
    try {
      finish();
    } catch (...) {  // it was told before, or nobody asked
    }
  }

  void refuse_in_record(const char* what) const {
    if (recording_ != nullptr) throw std::logic_error(std::string(what) + " while work is recorded");
  }
  void record_to(std::vector<job>* to) { recording_ = to; }
  [[nodiscard]] bool recording() const { return recording_ != nullptr; }

 private:
  void serve() {
    std::uint32_t noise = 12345;
    std::unique_lock lock(mutex_);
    for (;;) {
      changed_.wait(lock, [&] { return stopping_ || !jobs_.empty(); });
      if (jobs_.empty()) return;
      std::vector<job> batch = std::exchange(jobs_, {});
      busy_ = true;
      lock.unlock();
      for (const job& work : batch) {
        noise = noise * 1664525U + 1013904223U;
        if (noise >> 29U == 0) std::this_thread::sleep_for(std::chrono::microseconds(noise >> 24U));
        try {
          work();
        } catch (...) {
          const std::lock_guard again(mutex_);
          if (!error_) error_ = std::current_exception();
        }
      }
      batch.clear();  // and what it holds, before anyone is told of the end
      lock.lock();
      busy_ = false;
      changed_.notify_all();
    }
  }

  std::mutex mutex_;
  std::condition_variable changed_;
  std::vector<job> jobs_;
  std::vector<job>* recording_ = nullptr;
  std::exception_ptr error_;
  bool busy_ = false;
  bool stopping_ = false;
  std::thread thread_;
};

class context {
 public:
  explicit context(const ls::replica_place& place = {}) : inner_(place), device_(place.device) {}
  context(const context&) = delete;
  context& operator=(const context&) = delete;
  ~context() { worker_->finish_quietly(); }

  [[nodiscard]] auto enter() const {
    if (faults::entering == device_ && faults::entries_left-- == 0)
      throw std::runtime_error("a device that cannot be entered");
    return inner_.enter();
  }
  [[nodiscard]] int device() const noexcept { return device_; }
  [[nodiscard]] ls::cpu::context& inner() { return inner_; }
  [[nodiscard]] const std::shared_ptr<worker>& queue() { return worker_; }
  void submit(job work) {
    worker_->submit([this, work = std::move(work)] {
      const auto entered = inner_.enter();  // as many threads as a replica of the CPU backend has
      work();
    });
  }

  std::map<std::uint64_t, std::vector<job>> records;
  std::map<std::uint64_t, int> seen;
  std::uint64_t forgets = 0;

 private:
  ls::cpu::context inner_;
  int device_;
  std::shared_ptr<worker> worker_ = std::make_shared<worker>();
};

template <class T>
class buffer {
 public:
  buffer() = default;
  buffer(context& c, std::int64_t n) : queue_(c.queue()), memory_(n) { queue_->refuse_in_record("allocation"); }
  buffer(buffer&&) noexcept = default;
  buffer& operator=(buffer&& other) noexcept {
    if (queue_) queue_->finish_quietly();
    queue_ = std::move(other.queue_);
    memory_ = std::move(other.memory_);
    return *this;
  }
  ~buffer() {
    if (queue_) queue_->finish_quietly();  // as a device frees no memory in use
  }

  [[nodiscard]] T* data() noexcept { return to_device(memory_.data()); }
  [[nodiscard]] const T* data() const noexcept { return to_device(memory_.data()); }
  [[nodiscard]] std::int64_t size() const noexcept { return memory_.size(); }

 private:
  std::shared_ptr<worker> queue_;
  ls::aligned_buffer<T> memory_;
};

template <class T>
class mirrored {
 public:
  explicit mirrored(context& c) : device_(c, 1) {}

  [[nodiscard]] T& host() noexcept { return *host_; }
  [[nodiscard]] T* get() noexcept { return device_.data(); }
  void send(context& c) {
    c.submit([from = host_.get(), to = get()] { std::memcpy(to_host(to), from, sizeof(T)); });
  }
  void fetch(context& c) { fetch_from(c, get()); }
  void fetch_from(context& c, const T* from) {
    c.submit([from, to = host_.get()] { std::memcpy(to, to_host(from), sizeof(T)); });
  }

 private:
  std::unique_ptr<T> host_ = std::make_unique<T>();
  buffer<T> device_;
};

/// Read when the work runs, as a device reads pinned memory.
class packet {
 public:
  packet(context& c, std::int64_t size) : host_(size), device_(c, size) {}

  [[nodiscard]] std::byte* host() noexcept { return host_.data(); }
  [[nodiscard]] std::byte* get() noexcept { return device_.data(); }
  [[nodiscard]] const std::byte* get() const noexcept { return device_.data(); }
  void send(context& c, std::int64_t n) {
    c.submit([from = host_.data(), to = device_.data(), n] { std::copy_n(from, n, to_host(to)); });
  }

 private:
  ls::aligned_buffer<std::byte> host_;
  buffer<std::byte> device_;
};

class fence {
 public:
  explicit fence(context&) {}

  void record(context& c) {
    c.queue()->refuse_in_record("a fence");
    std::uint64_t now = 0;
    {
      const std::lock_guard lock(state_->mutex);
      now = ++state_->recorded;
    }
    c.submit([state = state_, now] {
      const std::lock_guard lock(state->mutex);
      state->reached = now;
      state->changed.notify_all();
    });
  }
  void hold(context& c) const {
    c.queue()->refuse_in_record("a fence");
    std::uint64_t until = 0;
    {
      const std::lock_guard lock(state_->mutex);
      until = state_->recorded;
    }
    c.submit([state = state_, until] {
      std::unique_lock lock(state->mutex);
      state->changed.wait(lock, [&] { return state->reached >= until; });
    });
  }

 private:
  struct points {
    std::mutex mutex;
    std::condition_variable changed;
    std::uint64_t recorded = 0, reached = 0;
  };
  std::shared_ptr<points> state_ = std::make_shared<points>();
};

}  // namespace queued_detail

}  // namespace lockstep_test
