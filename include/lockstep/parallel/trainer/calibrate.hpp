// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <exception>

#include <lockstep/parallel/ranks/agreement.hpp>
#include <lockstep/parallel/ranks/bucket_schedule.hpp>

namespace lockstep::detail {

/// Measures the link and the passes over a batch, and sets the schedule of messages with which a step ends first.
/// `refused`: see `agree`.
template <class Engine, class Batch>
bucket_schedule calibrate(Engine& engine, const Batch& own, std::exception_ptr refused) {
  try {
    engine.ranks.check_may_reschedule();
  } catch (...) {
    refused = std::current_exception();
  }
  return engine.calibrate(own, agree(engine, rank_call::accumulate, own, {}, refused));
}

}  // namespace lockstep::detail
