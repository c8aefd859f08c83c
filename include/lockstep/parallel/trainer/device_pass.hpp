// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <cstddef>
#include <cstdint>

#include <lockstep/parallel/timeline.hpp>
#include <lockstep/parallel/trainer/meeting.hpp>
#include <lockstep/parallel/trainer/profiler_ranges.hpp>
#include <lockstep/parallel/trainer/readiness.hpp>
#include <lockstep/parallel/trainer/replica_part.hpp>
#include <lockstep/parallel/trainer/user_batch.hpp>

namespace lockstep::detail {

/// A key for `replay`, mixed from two parts.
[[nodiscard]] constexpr std::uint64_t mix(std::uint64_t a, std::uint64_t b) {
  return (a ^ (b + 0x9E3779B97F4A7C15U + (a << 6U) + (a >> 2U))) * 0x100000001B3U;
}

/// A pass over a batch by replicas on devices, whose work is enqueued, and may be recorded and run again. `Complete`:
/// this pass completes the gradients, which may leave for other devices while it runs. With `to_sums`, `finish` reads
/// the sums. `variant` differs between passes that enqueue different work for the same number of samples.
template <bool Complete, class Engine>
class device_pass {
  using backend = typename Engine::backend_type;
  using context = typename Engine::context;
  using walk = typename Engine::walk;
  using part_type = replica_part<Engine>;
  static constexpr bool may_send_parts = Engine::homes_type::may_send_parts;

 public:
  device_pass(Engine& engine, bool to_sums, std::uint64_t variant)
      : engine_(engine), ready_(all_), to_sums_(to_sums), variant_(variant) {}

  /// Returns the loss.
  template <class Pass, class Finish>
  double run(const Pass& pass, const typename Engine::losses_type& denominators, const Finish& finish) {
    if constexpr (may_send_parts) engine_.homes.level(engine_.replicas);
    {
      const auto watched = engine_.watch();
      engine_.team.run([&](int member) {
        part_type part(engine_, all_, member);
        const auto run_part = [&] {
          if (engine_.homes.alone())
            run_alone(part, pass, finish);
          else
            run_among_others(part, pass, finish);
        };
        bool entered = false;
        all_.attempt(part.r, [&] {
          [[maybe_unused]] const auto device = device_of<backend>(part.self.context());
          entered = true;
          run_part();
        });
        if (!entered) run_part();  // a replica that has failed, for which others wait
      });
    }
    if (all_.failed()) engine_.template fail<Complete>(all_, true);
    return engine_.loss_of(engine_.loss_sums(), denominators);
  }

 private:
  /// Whether work is recorded now; a backend without a collective need not tell.
  [[nodiscard]] static bool recording([[maybe_unused]] context& c) {
    if constexpr (requires { backend::recording(c); })
      return backend::recording(c);
    else
      return false;
  }

  /// Whether the work that is enqueued now has been enqueued before, so that nothing is allocated or loaded for it.
  [[nodiscard]] static bool prepared(context& c) {
    if constexpr (requires { backend::prepared(c); })
      return backend::prepared(c);
    else
      return recording(c);
  }

  /// Stands in for replica_part where replicas meet only inside a collective.
  struct lone_part {
    template <class F>
    bool meet(const F& f) const {
      return f(), true;
    }
    template <class F>
    void change(const F& f) const {
      if (!recording(part.self.context())) part.begin_change();
      f();
    }
    part_type& part;
    const std::size_t r;
  };

  /// The part of a replica that meets others only inside a collective: its whole step may be recorded.
  template <class Pass, class Finish>
  void run_alone(part_type& part, const Pass& pass, const Finish& finish) {
    all_.attempt(part.r, [&] {
      const std::uint64_t key = prepare(part, pass);
      replay(part, key, [&] {
        forward_backward(part, pass);
        part.finish([&](const part_type&) { finish(lone_part{part, part.r}); });
      });
      // The device has the update now. It may run even where the sums before it are given up.
      part.begin_change();
      ready_.come(part.r);
      engine_.finish_replica(part.r);
    });
    part.settle_change();
    if constexpr (may_send_parts)
      if (all_.failed(part.r)) engine_.homes.give_up();
  }

  /// The part of a replica that shares its device: only the work before the replicas meet is recorded.
  template <class Pass, class Finish>
  void run_among_others(part_type& part, const Pass& pass, const Finish& finish) {
    all_.attempt(part.r, [&] {
      const std::uint64_t key = prepare(part, pass);
      replay(part, key, [&] { forward_backward(part, pass); });
    });
    const bool all_done = part.await([&] { return part.meet([] {}); });
    if (all_done) part.finish(finish);
    // A failure in the device's work shows only here.
    all_.attempt_always(part.r, [&] { engine_.finish_replica(part.r); });
    part.settle_change();
  }

  /// Takes over the replica's shard and the optimizer's options. Returns the key of the work to come.
  template <class Pass>
  std::uint64_t prepare(part_type& part, const Pass& pass) {
    auto& homes = engine_.homes;
    const std::uint64_t places = part.prepare(pass);
    const std::uint64_t rule = homes.of(part.r).update.set_rule(homes.slice(part.r), part.self.context(),
                                                                engine_.optimizer, engine_.skips.active());
    return mix(mix(static_cast<std::uint64_t>(pass.samples) << 2U | places, engine_.skips.key()),
               homes.alone() ? mix(rule, variant_) : 0);
  }

  /// Runs f, or a record of what f enqueued. While a timeline is written, and without graphs, always runs f.
  template <class F>
  void replay(part_type& part, std::uint64_t key, const F& f) {
    if (engine_.record != nullptr) return f();
    context& c = part.self.context();
    if constexpr (requires { backend::repeat(c, key, f); })
      if (!engine_.options.graphs) return backend::repeat(c, key, f);
    if constexpr (may_send_parts)
      backend::replay(c, key, f, [&] {
        if (engine_.homes.sends_parts()) ready_.await(part.r);
      });
    else
      backend::replay(c, key, f);
  }

  /// Forward, loss and backward. When the work is recorded, or has been enqueued before, gradients that travel in parts
  /// leave as backward completes them. Else they leave after backward, once all replicas have prepared their work.
  template <class Pass>
  void forward_backward(part_type& part, const Pass& pass) {
    const auto nothing = [](int, const auto&) {};
    if constexpr (!may_send_parts) {
      part.train(pass, nothing);
    } else if (!engine_.homes.sends_parts()) {
      part.train(pass, nothing);
    } else {
      walk way;
      const auto send = [&](std::size_t b) {
        [[maybe_unused]] const auto range = bucket_range<backend>(b);
        engine_.homes.send(part.r, part.self.context(), part.self.gradients.data(), walk::buckets.buckets[b], to_sums_,
                           engine_.pending);
      };
      const bool again = prepared(part.self.context());
      if (Complete && again)
        part.train(pass, [&](int node, const auto& complete_from) { way.completed(node, complete_from, send); });
      else
        part.train(pass, nothing);
      if (!again) ready_.await(part.r);
      if (Complete) way.rest(send);
    }
  }

  Engine& engine_;
  meeting<Engine::count> all_;
  readiness<Engine::count> ready_;
  bool to_sums_;
  std::uint64_t variant_;
};

}  // namespace lockstep::detail
