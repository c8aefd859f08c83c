// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <lockstep/parallel/trainer/meeting.hpp>
#include <lockstep/parallel/trainer/replica_part.hpp>
#include <lockstep/parallel/trainer/user_batch.hpp>

namespace lockstep::detail {

/// A pass over a batch by replicas that share the host's memory: each runs its shard, all meet, and each finishes.
/// Returns the loss. `Complete`: this pass completes the gradients. `on_complete` is called as by `replica::train`.
template <bool Complete, class Engine, class Pass, class OnComplete, class Finish>
double host_pass(Engine& engine, const Pass& pass, const typename Engine::losses_type& denominators,
                 const OnComplete& on_complete, const Finish& finish) {
  meeting<Engine::count> all;
  bool met = false;
  {
    const auto watched = engine.watch();
    engine.team.run([&](int member) {
      replica_part<Engine> part(engine, all, member);
      part.run(pass, on_complete, [&](std::size_t) { return all.come(engine.team); });
      const bool all_done = part.await([&] { return part.meet([] {}); });
      if (member == 0) met = all_done;
      if (all_done) part.finish(finish);
    });
  }
  if (all.failed()) engine.template fail<Complete>(all, met);
  return engine.loss_of(engine.loss_sums(), denominators);
}

}  // namespace lockstep::detail
