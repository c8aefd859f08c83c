// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <atomic>
#include <cstddef>
#include <type_traits>

#include <lockstep/parallel/replica.hpp>
#include <lockstep/parallel/timeline.hpp>
#include <lockstep/parallel/trainer_options.hpp>

namespace lockstep::detail {

/// Where an engine's current step is, for another thread: names the first replica that does not wait, and what it does.
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
    const std::size_t part = engine.ranks.position();
    if (part < std::remove_cvref_t<decltype(engine.ranks)>::bucket_count) report.bucket = static_cast<int>(part);
  }
  if (!works) report.doing = Engine::has_ranks ? "all replicas wait for the communicator" : "no replica works";
  return report;
}

}  // namespace lockstep::detail
