// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <algorithm>
#include <array>
#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <thread>
#include <type_traits>
#include <vector>

#include <pthread.h>
#include <sched.h>
#include <unistd.h>

#include <lockstep/core/fork_guard.hpp>
#include <lockstep/core/spin.hpp>
#include <lockstep/core/start_thread.hpp>
#include <lockstep/parallel/trainer/processors.hpp>

namespace lockstep {

/// N threads that work in lockstep for as long as the team lives. The caller is member 0; the team owns the others.
///
/// `run` hands all members one function and returns when each has finished it; inside that function `barrier` waits for
/// all members. Neither allocates nor takes a lock: members spin for some microseconds, then sleep in the kernel. With
/// more members than processors they sleep at once.
template <int N>
class thread_team {
  static_assert(N >= 1, "lockstep: a team has one member or more");

 public:
  /// Starts the threads. `pin` binds each member r > 0, and the threads that it starts, to its own `processors_each`
  /// processors, when the process has enough to which none of its threads is bound. As many are left to the caller,
  /// whose thread is never bound. Throws resource_error when a thread cannot be started.
  explicit thread_team([[maybe_unused]] bool pin = true, [[maybe_unused]] int processors_each = 1) {
    if constexpr (N > 1) {
      cpu_set_t allowed;
      CPU_ZERO(&allowed);
      const bool known = sched_getaffinity(0, sizeof allowed, &allowed) == 0;
      const int processors = known ? CPU_COUNT(&allowed) : static_cast<int>(std::thread::hardware_concurrency());
      spins_ = processors >= N ? spin_limit : 0;
      try {
        for (std::size_t r = 1; r < static_cast<std::size_t>(N); ++r)
          members_[r - 1] =
              detail::start_thread({"thread_team", detail::thread_of(static_cast<int>(r), N - 1), "use fewer replicas"},
                                   [this, r] { serve(static_cast<int>(r)); });
        if (pin && known) bind(static_cast<std::size_t>(processors_each), allowed);
      } catch (...) {
        stop();
        throw;
      }
    }
  }

  thread_team(const thread_team&) = delete;
  thread_team& operator=(const thread_team&) = delete;
  ~thread_team() { stop(); }

  /// Calls f(r) for r = 0..N-1, each on its own thread, r = 0 on the caller's. `f` must not throw. One caller at a
  /// time.
  template <class F>
  void run(F&& f) {
    if constexpr (N == 1) {
      f(0);
    } else {
      job_ = std::addressof(f);
      call_ = [](void* job, int r) { (*static_cast<std::remove_reference_t<F>*>(job))(r); };
      finished_.store(0, std::memory_order_relaxed);
      generation_.fetch_add(1, std::memory_order_release);
      generation_.notify_all();
      f(0);
      for (std::uint32_t done = finished_.load(std::memory_order_acquire); done != N - 1;
           done = finished_.load(std::memory_order_acquire))
        await(finished_, done);
    }
  }

  /// Inside `run`: returns when all N members have called it.
  void barrier() {
    static_cast<void>(barrier([] { return true; }));
  }
  /// The same; the last member to call it calls `verdict`, which must not throw, and every member returns what it said.
  template <class Verdict>
  [[nodiscard]] bool barrier(const Verdict& verdict) {
    if constexpr (N == 1) {
      return verdict();
    } else {
      const std::uint32_t phase = phase_.load(std::memory_order_acquire);
      if (arrived_.fetch_add(1, std::memory_order_acq_rel) == N - 1) {
        verdict_ = verdict();
        arrived_.store(0, std::memory_order_relaxed);
        phase_.store(phase + 1, std::memory_order_release);
        phase_.notify_all();
      } else {
        await(phase_, phase);
      }
      return verdict_;
    }
  }

 private:
  /// Binds each member but the caller to `each` processors of its own, where there are enough that no thread claims.
  /// Two teams that do this at the same time may claim the same ones: whoever sees that after its claim takes it back
  /// and tries again. Of two teams the later to claim always sees it. A refusal of the kernel costs speed, never
  /// correctness.
  void bind(std::size_t each, const cpu_set_t& allowed) {
    constexpr int most_attempts = 8;
    for (int attempt = 1; attempt <= most_attempts; ++attempt) {
      const std::vector<int> free = detail::processor_claims().unclaimed();
      if (free.size() < each * static_cast<std::size_t>(N)) return;
      for (std::size_t r = 1; r < static_cast<std::size_t>(N); ++r)
        bind(members_[r - 1], detail::processor_set(free, r * each, each));
      const detail::processor_claims claims;
      const auto last = free.begin() + static_cast<std::ptrdiff_t>(each * static_cast<std::size_t>(N));
      if (std::none_of(free.begin() + static_cast<std::ptrdiff_t>(each), last,
                       [&](int cpu) { return claims.threads_at[static_cast<std::size_t>(cpu)] > 1; }))
        return;
      for (std::thread& member : members_) bind(member, allowed);
      // Of different length, so that two teams do not keep step.
      std::this_thread::sleep_for(std::chrono::microseconds(50 * attempt * (1 + gettid() % 8)));
    }
  }
  static void bind(std::thread& member, const cpu_set_t& to) {
    static_cast<void>(pthread_setaffinity_np(member.native_handle(), sizeof to, &to));
  }

  using counter = std::atomic<std::uint32_t>;

  /// Returns once the counter is no longer `old`.
  void await(counter& c, std::uint32_t old) const {
    const auto changed = [&] { return c.load(std::memory_order_acquire) != old; };
    if (spin_until(spins_, changed)) return;
    while (!changed()) c.wait(old, std::memory_order_acquire);
  }

  void serve(int r) {
    std::uint32_t seen = 0;
    for (;;) {
      await(generation_, seen);
      ++seen;
      if (stopping_.load(std::memory_order_acquire)) return;
      call_(job_, r);
      // The last member to finish wakes the caller, if it sleeps.
      finished_.fetch_add(1, std::memory_order_acq_rel);
      finished_.notify_one();
    }
  }

  void stop() {
    stopping_.store(true, std::memory_order_release);
    generation_.fetch_add(1, std::memory_order_release);
    generation_.notify_all();
    for (auto& member : members_) {
      if (!member.joinable()) continue;
      if (fork_.crossed())
        member.detach();
      else
        member.join();
    }
  }

  // Each counter has its own cache line: members poll one while others write another.
  alignas(64) counter generation_{0};
  alignas(64) counter finished_{0};
  alignas(64) counter arrived_{0};
  alignas(64) counter phase_{0};
  bool verdict_ = true;  // beside the counter that everybody who waits reads anyway
  alignas(64) std::atomic<bool> stopping_{false};
  void* job_ = nullptr;
  void (*call_)(void*, int) = nullptr;
  int spins_ = 0;
  detail::fork_guard fork_;
  std::array<std::thread, static_cast<std::size_t>(N - 1)> members_{};
};

}  // namespace lockstep
