// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <cstddef>
#include <cstdint>
#include <exception>

#include <lockstep/parallel/ranks/rank_parts.hpp>
#include <lockstep/parallel/timeline.hpp>
#include <lockstep/parallel/trainer/meeting.hpp>
#include <lockstep/parallel/trainer/profiler_ranges.hpp>
#include <lockstep/parallel/trainer/replica_part.hpp>
#include <lockstep/parallel/trainer/user_batch.hpp>

namespace lockstep::detail {

/// A pass over a batch of which this process has a part. While replicas run backward, the communication thread reduces
/// each bucket that all of them have completed; between segments it combines what the ranks have measured. When the
/// last bucket is summed on all ranks, each replica finishes. Returns the loss over all ranks.
///
/// A pass that does not complete the gradients sums no bucket and no losses: a replica finishes when all replicas of
/// this rank are done, and the loss is that of this rank's part.
template <bool Complete, class Engine, class Pass, class OnComplete, class Finish>
double rank_pass(Engine& engine, const Pass& pass, const typename Engine::losses_type& denominators,
                 const OnComplete& on_complete, const Finish& finish) {
  using backend = typename Engine::backend_type;
  using walk = typename Engine::walk;
  using parts = typename Engine::ranks_type::parts;
  meeting<Engine::count> all;
  std::exception_ptr unsummed;
  const auto communicate = [&](std::size_t p) {
    const rank_part now = parts::all[p];
    if (!Complete && now.work != rank_work::exchange) return;
    const track spans = engine.track_of(static_cast<int>(Engine::count));
    const std::int64_t begin = spans.now();
    // A replica that fails sets this before it arrives at any further part.
    const auto failed = [&] { return all.failed() || unsummed != nullptr; };
    if (now.work == rank_work::losses) return engine.ranks.close(engine.loss_sums(), failed());
    if constexpr (Engine::measures)
      if (now.work == rank_work::exchange) {
        engine.statistics.exchange(now.index, failed());
        return spans.span(begin, activity::communicate);
      }
    auto& update = engine.homes.front().update;
    // The other ranks wait for what this one sends, whatever happens here.
    try {
      if (!failed()) engine.ranks.sum(now.index, update, engine.gradient_buffers(), engine.pending);
    } catch (...) {
      unsummed = std::current_exception();
    }
    engine.ranks.send(now.index, update.sums(), failed(), engine.skips.active());
    spans.span(begin, activity::communicate, static_cast<int>(now.index));
  };
  bool met = false;
  {
    const auto watched = engine.watch();
    engine.ranks.start(communicate);
    engine.team.run([&](int member) {
      replica_part<Engine> part(engine, all, member);
      walk way;
      const auto send = [&](std::size_t b) {
        [[maybe_unused]] const auto range = bucket_range<backend>(b);
        engine.ranks.arrive(parts::of(rank_work::bucket, b));
      };
      std::size_t exchanged = 0;
      const auto arrive_at_exchange = [&] {
        const std::size_t p = parts::of(rank_work::exchange, exchanged);
        way.rest(send, p - exchanged);  // a replica without samples completes no layer, and so no bucket
        engine.ranks.arrive(p);
        ++exchanged;
        return p;
      };
      part.run(
          pass,
          [&](int node, const auto& complete_from) {
            on_complete(node);
            way.completed(node, complete_from, send);
          },
          [&](std::size_t) { return engine.ranks.await(arrive_at_exchange()) && !all.failed(); });
      // Whatever has happened here, the other ranks wait for all parts.
      while (exchanged < parts::exchanges) arrive_at_exchange();
      way.rest(send);
      engine.ranks.arrive(parts::losses);
      const bool done = part.await([&] {
        engine.ranks.wait();
        if constexpr (Complete)
          return engine.ranks.succeeded();
        else
          return engine.ranks.error() == nullptr && part.meet([] {});
      });
      if (member == 0) met = done;
      if (done) part.finish(finish);
    });
  }
  if constexpr (!Complete) {
    if (all.failed()) engine.template fail<false>(all, met);
    if (engine.ranks.error()) std::rethrow_exception(engine.ranks.error());
    return engine.loss_of(engine.loss_sums(), denominators);
  } else {
    engine.ranks.settle_hook();
    const bool sent = engine.ranks.succeeded();
    // The pass has overwritten the sums of the pending gradients.
    if (!sent) engine.drop_passes();
    if (all.failed()) {
      engine.half_updated = engine.half_updated || sent;  // the other ranks have updated
      engine.template fail<true>(all, true);
    }
    if (unsummed) std::rethrow_exception(unsummed);
    engine.ranks.rethrow();
    return engine.loss_of(engine.ranks.losses(), denominators);
  }
}

}  // namespace lockstep::detail
