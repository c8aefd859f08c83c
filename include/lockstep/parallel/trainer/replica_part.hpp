// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <cstddef>
#include <cstdint>
#include <utility>

#include <lockstep/parallel/timeline.hpp>
#include <lockstep/parallel/trainer/meeting.hpp>
#include <lockstep/parallel/trainer/profiler_ranges.hpp>
#include <lockstep/parallel/trainer/replica.hpp>

namespace lockstep::detail {

/// Replica r's part in a pass over a batch. Every kind of pass is made of these phases.
///
/// The function that ends a pass, `finish(part)`, uses two of them: `meet(f)` runs f and tells all replicas alike
/// whether all have done so; `change(f)` runs f, the change that the pass is for, such as the update.
template <class Engine>
class replica_part {
  using backend = typename Engine::backend_type;

 public:
  replica_part(Engine& engine, meeting<Engine::count>& all, int member)
      : r(static_cast<std::size_t>(member)),
        first_leaf(member * Engine::leaves_per_replica),
        self(*engine.replicas[r]),
        spans(engine.track_of(member)),
        engine_(engine),
        meeting_(all) {}

  /// Runs forward, loss and backward of the replica's shard. `on_complete` is called as by `replica::train`. Between
  /// two segments, measured(exchange) waits until all replicas have measured theirs, and tells whether to go on.
  template <class Pass, class OnComplete, class Measured>
  void run(const Pass& pass, const OnComplete& on_complete, [[maybe_unused]] const Measured& measured) {
    if constexpr (Engine::replica::segments == 1)
      meeting_.attempt(r, [&] {
        prepare(pass);
        train(pass, on_complete);
      });
    else
      run_segments(pass, on_complete, measured);
  }
  /// The two halves of it, for work that is recorded in between. Returns what `replica::prepare` does.
  template <class Pass>
  std::uint64_t prepare(const Pass& pass) {
    return self.prepare(pass, first_leaf, Engine::leaves);
  }
  template <class Pass, class OnComplete>
  void train(const Pass& pass, const OnComplete& on_complete) {
    self.train(engine_.homes.of(r).parameters.data(), pass.samples, first_leaf, Engine::leaves, spans, on_complete);
  }

  /// Shows the replica waiting while wait() runs, and returns its result.
  template <class Wait>
  bool await(const Wait& wait) {
    self.position.set(activity::wait);
    const std::int64_t waiting = spans.now();
    const bool done = wait();
    spans.span(waiting, activity::wait);
    return done;
  }

  /// Calls finish(*this), shown as the update.
  template <class Finish>
  void finish(const Finish& finish) {
    self.position.set(activity::update);
    [[maybe_unused]] const shown_range<backend> range("the update");
    const std::int64_t finishing = spans.now();
    finish(*this);
    spans.span(finishing, activity::update);
    self.position.set(activity::wait);
  }

  /// Runs f and waits until all replicas have done so. Returns true when none has failed. Work that this replica
  /// enqueues afterwards runs after the work that the others enqueued before the meeting.
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
    // Where hold can fail, all replicas have to know before any goes on.
    if constexpr (noexcept(self.done[turn].hold(c)))
      return true;
    else
      return meeting_.come(engine_.team);
  }

  template <class F>
  void change(const F& f) {
    begin_change();
    meeting_.attempt(r, f);
    settle_change();
  }
  /// From now on a failure of the replica may leave the change half done.
  void begin_change() noexcept { changes_ = true; }
  /// The replica may have failed since it began its change, in work that it gave to its device.
  void settle_change() noexcept {
    if (changes_) meeting_.settle_change(r);
  }

  /// The same segment by segment. Between two segments each replica combines what all have measured.
  template <class Pass, class OnComplete, class Measured>
  void run_segments(const Pass& pass, const OnComplete& on_complete, const Measured& measured) {
    typename Engine::replica::training_pass own{};
    meeting_.attempt(r, [&] {
      prepare(pass);
      own = self.begin(engine_.homes.of(r).parameters.data(), pass.samples, first_leaf, Engine::leaves, spans);
    });
    constexpr int last = Engine::replica::segments - 1;
    bool going = true;
    std::size_t exchange = 0;
    const auto after_all = [&](const auto& work, const auto& combine) {
      if (!going) return;
      meeting_.attempt(r, work);
      going = await([&] { return measured(exchange++); });
      if (going) meeting_.attempt(r, combine);
    };
    // Forward to the last segment, which has the loss and its own backward; then back.
    for (int i = 0; i < last; ++i)
      after_all([&] { self.forward_segment(i, own, spans); }, [&] { engine_.statistics.combine_moments(i, r); });
    for (int i = last; i > 0; --i)
      after_all([&] { self.backward_segment(i, own, spans, on_complete); },
                [&] { engine_.statistics.combine_sums(i - 1, r); });
    if (going) meeting_.attempt(r, [&] { self.backward_segment(0, own, spans, on_complete), self.end(); });
  }

  const std::size_t r;
  const int first_leaf;  ///< of the sum over the batch, that this replica computes
  typename Engine::replica& self;
  const track spans;

 private:
  Engine& engine_;
  meeting<Engine::count>& meeting_;
  bool changes_ = false;
};

}  // namespace lockstep::detail
