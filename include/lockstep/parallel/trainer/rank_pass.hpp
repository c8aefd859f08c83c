// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <cstddef>
#include <cstdint>
#include <exception>

#include <lockstep/parallel/timeline.hpp>
#include <lockstep/parallel/trainer/meeting.hpp>
#include <lockstep/parallel/trainer/profiler_ranges.hpp>
#include <lockstep/parallel/trainer/replica_part.hpp>
#include <lockstep/parallel/trainer/user_batch.hpp>

namespace lockstep::detail {

/// A pass over a batch whose gradients are summed over the ranks. While replicas run backward, the communication thread
/// reduces each bucket that all of them have completed. When the last bucket is summed on all ranks, each replica
/// finishes. Returns the loss over all ranks.
template <class Engine, class Pass, class Finish>
double rank_pass(Engine& engine, const Pass& pass, double denominator, const Finish& finish) {
  using backend = typename Engine::backend_type;
  using walk = typename Engine::walk;
  meeting<Engine::count> all;
  std::exception_ptr unsummed;
  const auto communicate = [&](std::size_t b) {
    const track spans = engine.track_of(static_cast<int>(Engine::count));
    const std::int64_t begin = spans.now();
    // A replica that fails sets this before it arrives at any further bucket.
    const auto failed = [&] { return all.failed() || unsummed != nullptr; };
    if (b == walk::count) return engine.ranks.close(engine.loss_sum(), failed());
    auto& update = engine.homes.front().update;
    // The other ranks wait for what this one sends, whatever happens here.
    try {
      if (!failed()) engine.ranks.sum(b, update, engine.gradient_buffers(), engine.pending);
    } catch (...) {
      unsummed = std::current_exception();
    }
    engine.ranks.send(b, update.sums(), failed(), engine.skips.active());
    spans.span(begin, activity::communicate, static_cast<int>(b));
  };
  {
    const auto watched = engine.watch();
    engine.ranks.start(communicate);
    engine.team.run([&](int member) {
      replica_part<Engine> part(engine, all, member);
      walk way;
      const auto send = [&](std::size_t b) {
        [[maybe_unused]] const auto range = bucket_range<backend>(b);
        engine.ranks.arrive(b);
      };
      part.run(pass, [&](int node, const auto& complete_from) { way.completed(node, complete_from, send); });
      way.rest(send);
      engine.ranks.arrive(walk::count);
      if (part.await([&] { return engine.ranks.wait(), engine.ranks.succeeded(); })) part.finish(finish);
    });
  }
  engine.ranks.settle_hook();
  const bool sent = engine.ranks.succeeded();
  if (!sent) engine.drop_pending();  // the pass has overwritten the sums of the pending gradients
  if (all.failed()) {
    engine.half_updated = engine.half_updated || sent;  // the other ranks have updated
    engine.template fail<true>(all, true);
  }
  if (unsummed) std::rethrow_exception(unsummed);
  engine.ranks.rethrow();
  return engine.ranks.loss() / denominator;
}

}  // namespace lockstep::detail
