// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <algorithm>
#include <array>
#include <atomic>
#include <bit>
#include <chrono>
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
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

#include <lockstep/backend/backend.hpp>
#include <lockstep/backend/cpu/cpu.hpp>

/// \file
/// A backend that behaves as a GPU does, so that what schedules replicas can be tested where there is none: work is
/// done later and in order, by a thread of its context; memory is at addresses that the host cannot read; and work can
/// be recorded and run again. The numbers are the CPU backend's, bit for bit.

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

/// How often recorded work was run again, by all contexts.
inline std::atomic<int> replays{0};
/// How many sums between replicas were enqueued, by all of them.
inline std::atomic<int> started_sums{0};
/// Those of them in a fixed order.
inline std::atomic<int> started_ordered_sums{0};
/// How many of them were of values in memory that the collective had given.
inline std::atomic<int> started_shared_sums{0};
/// How many collectives were to end while recordings held work of theirs, where NCCL would wait forever.
inline std::atomic<int> held_collectives{0};

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
  explicit context(const ls::replica_place& place = {}) : inner_(place) {}
  context(const context&) = delete;
  context& operator=(const context&) = delete;
  ~context() { worker_->finish_quietly(); }

  [[nodiscard]] auto enter() const { return inner_.enter(); }
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
  void fetch(context& c) {
    c.submit([from = get(), to = host_.get()] { std::memcpy(to, to_host(from), sizeof(T)); });
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

/// A primitive with state, which lives until its work is done.
template <class Inner>
class prepared {
 public:
  prepared(context& c, std::int64_t samples) : queue_(c.queue()), inner_(c.inner(), samples) {
    queue_->refuse_in_record("a primitive's preparation");
  }
  prepared(const prepared&) = delete;
  prepared& operator=(const prepared&) = delete;
  ~prepared() { queue_->finish_quietly(); }

  template <class... Arguments>
  void forward(context& c, Arguments... arguments) {
    c.submit([this, &c, ... a = host_of(arguments)] { inner_.forward(c.inner(), a...); });
  }
  template <class... Arguments>
  void backward(context& c, Arguments... arguments) {
    c.submit([this, &c, ... a = host_of(arguments)] { inner_.backward(c.inner(), a...); });
  }
  template <class... Index>
  [[nodiscard]] static constexpr std::int64_t weight_offset(Index... index) {
    return Inner::weight_offset(index...);
  }

 private:
  template <class T>
  static T* host_of(T* p) {
    return to_host(p);
  }
  static bool host_of(bool b) { return b; }

  std::shared_ptr<worker> queue_;
  Inner inner_;
};

}  // namespace queued_detail

struct queued {
  using value_type = float;
  using context = queued_detail::context;
  template <class T>
  using buffer = queued_detail::buffer<T>;
  template <class T>
  using mirrored = queued_detail::mirrored<T>;
  using packet = queued_detail::packet;
  using fence = queued_detail::fence;
  template <std::size_t N>
  using collective = queued_detail::collective<N>;

  static constexpr std::string_view name = "queued";
  static constexpr ls::element_order picture_order = ls::cpu::picture_order;
  static constexpr std::int64_t cache_bytes = ls::cpu::cache_bytes;
  static constexpr std::int64_t largest_pass = ls::cpu::largest_pass;
  static constexpr bool host_memory = false;

  template <ls::linear_geometry G>
  using linear = queued_detail::prepared<ls::cpu::linear<G>>;
  template <ls::convolution_geometry G>
  using convolution = queued_detail::prepared<ls::cpu::convolution<G>>;
  template <ls::pooling_geometry G>
  using pooling = queued_detail::prepared<ls::cpu::pooling<G>>;

  template <class T>
  [[nodiscard]] static buffer<T> allocate(context& c, std::int64_t n) {
    return buffer<T>(c, n);
  }
  template <class T>
  static void copy_in(context& c, std::int64_t n, const T* from, T* to) {
    c.queue()->refuse_in_record("a copy of the host's memory");
    c.submit([data = std::vector<T>(from, from + n), to] { std::copy(data.begin(), data.end(), host(to)); });
  }
  template <class T>
  static void copy_out(context& c, std::int64_t n, const T* from, T* to) {
    c.submit([=] { std::copy_n(host(from), n, to); });
    c.queue()->finish();
  }
  template <class T>
  static void copy(context& c, std::int64_t n, const T* from, T* to) {
    c.submit([=] { std::copy_n(host(from), n, host(to)); });
  }
  template <class T>
  static void clear(context& c, std::int64_t n, T* to) {
    c.submit([=] { std::fill_n(host(to), n, T{}); });
  }
  [[nodiscard]] static bool host_reads(const void* p) {
    return reinterpret_cast<std::uintptr_t>(p) < queued_detail::distance;
  }
  static void finish(context& c) { c.queue()->finish(); }
  static void forget(context& c) {
    ++c.forgets;
    c.records.clear();
    c.seen.clear();
  }
  [[nodiscard]] static std::uint64_t moves(context& c) { return c.forgets; }

  template <class F>
  static void replay(context& c, std::uint64_t key, F&& f) {
    if (c.seen[key]++ == 0) return f();
    if (!c.records.contains(key)) {
      std::vector<queued_detail::job> jobs;
      c.queue()->record_to(&jobs);
      try {
        f();
      } catch (...) {
        c.queue()->record_to(nullptr);
        throw;
      }
      c.queue()->record_to(nullptr);
      c.records[key] = std::move(jobs);
    } else {
      ++queued_detail::replays;
    }
    for (const auto& work : c.records[key]) c.submit(work);
  }

  static void relu_forward(context& c, std::int64_t n, const float* x, float* y) {
    c.submit([=, &c] { ls::cpu::relu_forward(c.inner(), n, host(x), host(y)); });
  }
  static void relu_backward(context& c, std::int64_t n, const float* y, const float* dy, float* dx) {
    c.submit([=, &c] { ls::cpu::relu_backward(c.inner(), n, host(y), host(dy), host(dx)); });
  }
  static void dropout(context& c, std::int64_t samples, std::int64_t size, const ls::dims& picture, float p,
                      const ls::dropout_key& key, const float* x, float* y) {
    c.submit([=, &c] {
      ls::dropout_key own = key;
      own.now = host(key.now);
      ls::cpu::dropout(c.inner(), samples, size, picture, p, own, host(x), host(y));
    });
  }
  static void to_channels_last(context& c, std::int64_t n, const ls::dims& d, const float* x, float* y) {
    c.submit([=, &c] { ls::cpu::to_channels_last(c.inner(), n, d, host(x), host(y)); });
  }
  static void to_plain(context& c, std::int64_t n, const ls::dims& d, const float* x, float* y) {
    c.submit([=, &c] { ls::cpu::to_plain(c.inner(), n, d, host(x), host(y)); });
  }
  static void softmax_cross_entropy(context& c, std::int64_t rows, const ls::cross_entropy_arguments& a,
                                    const float* logits, const std::int64_t* targets, float* dlogits,
                                    const ls::step_values* now, double* sum) {
    c.submit([=, &c] {
      ls::cross_entropy_arguments own = a;
      own.class_weights = host(a.class_weights);
      ls::cpu::softmax_cross_entropy(c.inner(), rows, own, host(logits), host(targets), host(dlogits), host(now),
                                     host(sum));
    });
  }
  static void squared_error(context& c, std::int64_t n, const float* y, const float* t, float* dy,
                            const ls::step_values* now, double* sum) {
    c.submit([=, &c] { ls::cpu::squared_error(c.inner(), n, host(y), host(t), host(dy), host(now), host(sum)); });
  }
  static void add(context& c, std::int64_t n, const float* x, float* y) {
    c.submit([=, &c] { ls::cpu::add(c.inner(), n, host(x), host(y)); });
  }
  static void square_sums(context& c, std::int64_t n, std::int64_t block, const float* x, double* sums) {
    c.submit([=, &c] { ls::cpu::square_sums(c.inner(), n, block, host(x), host(sums)); });
  }
  static void gradient_norm(context& c, std::int64_t blocks, const double* squares, double max_norm,
                            ls::update_terms* out) {
    c.submit([=, &c] { ls::cpu::gradient_norm(c.inner(), blocks, host(squares), max_norm, host(out)); });
  }
  template <std::size_t N, std::size_t States, class Rule>
  static void reduce_and_update(context& c, std::int64_t first, std::int64_t last,
                                const std::array<const float*, N>& gradients, float* parameters,
                                const std::array<float*, States>& states, const Rule& rule) {
    c.submit([=, &c] {
      auto own_gradients = gradients;
      for (auto& g : own_gradients) g = host(g);
      auto own_states = states;
      for (auto& s : own_states) s = host(s);
      ls::cpu::reduce_and_update(c.inner(), first, last, own_gradients, host(parameters), own_states, readable(rule));
    });
  }

 private:
  template <class T>
  static T* host(T* p) {
    return queued_detail::to_host(p);
  }

  /// The rule with its pointers as this side reads them.
  template <class Rule>
  static Rule readable(Rule rule) {
    if constexpr (requires { rule.loaded(); }) {
      rule.rule = host(rule.rule);
      if constexpr (requires { rule.terms; }) rule.terms = host(rule.terms);
    }
    return rule;
  }
};

static_assert(ls::backend<queued>);

}  // namespace lockstep_test
