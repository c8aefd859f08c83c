// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <atomic>
#include <cstddef>
#include <type_traits>
#include <utility>

#include <lockstep/core/error.hpp>
#include <lockstep/parallel/ranks/rank_parts.hpp>
#include <lockstep/parallel/timeline.hpp>
#include <lockstep/parallel/trainer/replica.hpp>
#include <lockstep/parallel/trainer_options.hpp>

namespace lockstep::detail {

/// Where an engine's current step is, for another thread than the replicas'. The report names the first replica that
/// does not wait, and what it does.
template <class Engine>
[[nodiscard]] stall_report where_is(const Engine& engine, double seconds) {
  stall_report report{.step = engine.now.load(std::memory_order_relaxed), .seconds = seconds, .doing = {}};
  bool works = false;
  for (std::size_t r = 0; r < engine.replicas.size() && !works; ++r) {
    const replica_position& position = engine.replicas[r]->position;
    works = position.what() != activity::wait;
    if (!works) continue;
    report.replica = static_cast<int>(r);
    report.doing = doing<typename Engine::model_type, typename Engine::backend_type>(position.what(), position.node());
  }
  if constexpr (Engine::has_ranks) {
    const rank_part part = engine.ranks.position();
    if (part.work == rank_work::bucket) report.bucket = static_cast<int>(part.index);
  }
  if (!works) report.doing = Engine::has_ranks ? "all replicas wait for the communicator" : "no replica works";
  return report;
}

/// The report of a step that was given up because it took too long.
class given_up {
 public:
  /// In the watchdog's thread, before the replicas are made to fail.
  void note(stall_report report) {
    report_ = std::move(report);
    noted_.store(true, std::memory_order_release);
  }
  /// Throws backend_error once a report has been noted: the replicas have failed because the step was given up.
  void rethrow() const {
    if (noted_.load(std::memory_order_acquire))
      throw backend_error("data_parallel::step", "a step within its time_limit", report_.text(),
                          "the replicas gave up; make a new trainer");
  }

 private:
  std::atomic<bool> noted_{false};
  stall_report report_;
};

/// In the watchdog's thread: tells the user of a step that takes too long, and ends the step where replicas wait for
/// each other in a backend's collective, unless it has ended meanwhile. `give_up` is the watchdog's.
template <class Engine, class GiveUp>
void report_stall(Engine& engine, double seconds, [[maybe_unused]] const GiveUp& give_up) {
  const stall_report report = where_is(engine, seconds);
  engine.options.on_stall(report);
  if constexpr (Engine::homes_type::may_send_parts) {
    if (engine.homes.size() == 1 || !give_up()) return;
    engine.stalled.note(report);
    engine.homes.give_up();
  }
}

}  // namespace lockstep::detail
