// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <cstddef>
#include <cstdint>

#include <lockstep/parallel/timeline.hpp>
#include <lockstep/parallel/trainer/meeting.hpp>
#include <lockstep/parallel/trainer/profiler_ranges.hpp>
#include <lockstep/parallel/trainer/replica.hpp>

namespace lockstep::detail {

/// Replica r's part in a pass over a batch: the phases of which every course of a pass is made.
///
/// What ends a pass, `finish(part)`, is written in two of them: `meet(f)` runs f and tells, to all replicas alike,
/// whether all have done so; `change(f)` runs f, which is the purpose of it all, such as the update.
template <class Engine>
class replica_part {
  using backend = typename Engine::backend_type;

 public:
  replica_part(Engine& engine, meeting<Engine::count>& all, int member)
      : r(static_cast<std::size_t>(member)),
        self(*engine.replicas[r]),
        spans(engine.track_of(member)),
        engine_(engine),
        meeting_(all) {}

  /// Forward, loss and backward of the replica's shard; `on_complete` as `replica::train` calls it.
  template <class Pass, class OnComplete>
  void run(const Pass& pass, const OnComplete& on_complete) {
    const int first = static_cast<int>(r) * Engine::leaves_per_replica;
    meeting_.attempt(r, [&] {
      self.prepare(pass, first, Engine::leaves);
      self.train(engine_.homes.of(r).parameters.data(), pass.samples, first, Engine::leaves, spans, on_complete);
    });
  }

  /// Shows the replica waiting while wait() runs, and returns what that does.
  template <class Wait>
  bool await(const Wait& wait) {
    self.position.set(activity::wait);
    const std::int64_t waiting = spans.now();
    const bool done = wait();
    spans.span(waiting, activity::wait);
    return done;
  }

  /// What ends the pass, shown as the update.
  template <class Finish>
  void finish(const Finish& finish) {
    self.position.set(activity::update);
    [[maybe_unused]] const shown_range<backend> range("the update");
    const std::int64_t finishing = spans.now();
    finish(*this);
    spans.span(finishing, activity::update);
    self.position.set(activity::wait);
  }

  /// Runs f, and returns true once all replicas have done so and none has failed; what the replica's device is given
  /// from then on comes after what the devices of others were given before.
  template <class F>
  bool meet(const F& f) {
    auto& c = self.context();
    // A replica ahead records the next meeting's fence while another is still about to wait for this one's; were it the
    // same fence, the slow one would wait for work that may wait for its own.
    const std::size_t turn = self.meetings++ % 2;
    meeting_.attempt(r, [&] {
      f();
      self.done[turn].record(c);
    });
    if (!meeting_.come(engine_.team)) return false;
    meeting_.attempt(r, [&] {
      for (std::size_t k = 0; k < Engine::count; ++k)
        if (k != r) engine_.replicas[k]->done[turn].hold(c);
    });
    // Where that can fail, all have to know before any goes on.
    if constexpr (noexcept(self.done[turn].hold(c)))
      return true;
    else
      return meeting_.come(engine_.team);
  }

  template <class F>
  void change(const F& f) {
    meeting_.attempt_change(r, f);
  }

  const std::size_t r;
  typename Engine::replica& self;
  const track spans;

 private:
  Engine& engine_;
  meeting<Engine::count>& meeting_;
};

}  // namespace lockstep::detail
