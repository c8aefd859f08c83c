// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <exception>
#include <limits>
#include <memory>
#include <thread>
#include <type_traits>
#include <utility>

#include <lockstep/backend/tree_sum.hpp>
#include <lockstep/core/random.hpp>
#include <lockstep/core/shard.hpp>
#include <lockstep/parallel/policies.hpp>
#include <lockstep/parallel/precision.hpp>
#include <lockstep/parallel/ranks/bucket_walk.hpp>
#include <lockstep/parallel/ranks/rank_link.hpp>
#include <lockstep/parallel/ranks/verify.hpp>
#include <lockstep/parallel/timeline.hpp>
#include <lockstep/parallel/trainer/entrance.hpp>
#include <lockstep/parallel/trainer/home.hpp>
#include <lockstep/parallel/trainer/meeting.hpp>
#include <lockstep/parallel/trainer/profiler_ranges.hpp>
#include <lockstep/parallel/trainer/replica.hpp>
#include <lockstep/parallel/trainer/rethrow_first.hpp>
#include <lockstep/parallel/trainer/skips.hpp>
#include <lockstep/parallel/trainer/stall.hpp>
#include <lockstep/parallel/trainer/thread_team.hpp>
#include <lockstep/parallel/trainer/user_batch.hpp>
#include <lockstep/parallel/trainer/watchdog.hpp>
#include <lockstep/parallel/trainer_options.hpp>

namespace lockstep::detail {

/// What data_parallel is made of: the replicas, what they share, and the course of a pass over a batch. Members are
/// open to data_parallel, which is all that holds one, and to what is said of it in other files.
template <class Model, int N, class... Policies>
struct trainer_engine {
  using kinds = policies<Policies...>;
  using model_type = Model;
  using backend_type = typename kinds::backend;
  using optimizer_type = typename kinds::optimizer;
  using loss_type = typename Model::loss_type;
  using value_type = typename backend_type::value_type;
  using communicator_type = typename kinds::communicator;
  using hook_type = typename kinds::hook;

  static constexpr const auto& plan = Model::template plan<backend_type>;
  static constexpr bool has_ranks = !std::is_same_v<communicator_type, single_rank>;
  static constexpr int leaves = kinds::template leaves<N>;
  static constexpr int leaves_per_replica = leaves / N;
  static constexpr auto count = static_cast<std::size_t>(N);
  static constexpr auto leaf_count = static_cast<std::size_t>(leaves);

  using replica = detail::replica<Model, backend_type, leaves_per_replica>;
  using context = typename backend_type::context;
  using home_type = home<backend_type, optimizer_type, count>;
  using ranks_type =
      std::conditional_t<has_ranks,
                         rank_link<Model, backend_type, N, communicator_type, hook_type, typename kinds::bucket_sizes,
                                   layer_skips<Model, backend_type>::layers>,
                         no_ranks>;

  using homes_type =
      home_group<backend_type, optimizer_type, count, std::is_same_v<typename kinds::reduction, reduce::reproducible>>;
  /// Whether gradients may leave a replica bucket by bucket.
  static constexpr bool walks = has_ranks || homes_type::may_send_parts;
  using walk = std::conditional_t<walks, bucket_walk<Model, backend_type, typename kinds::bucket_sizes>, no_ranks>;

  template <class Target>
  using batch = user_batch<value_type, Target>;

  template <class... Link>
  trainer_engine(optimizer_type rule, loss_type criterion, trainer_options settings, Link&&... link)
      : optimizer(std::move(rule)),
        loss(std::move(criterion)),
        options(std::move(settings)),
        homes(options.devices),
        ranks(std::forward<Link>(link)...),
        // Threads that a library starts for a GPU would be bound with the one that calls it.
        team(options.pin && backend_type::host_memory) {
    options.check();
    if constexpr (Model::has_loss) loss.check_options(Model::output_dims);
    const auto rounding = rounding_on<backend_type>("data_parallel", options.rounding, kinds::rounding);
    // Each replica makes its own buffers, so that their pages lie near its processor.
    on_all([&](std::size_t r) {
      replicas[r] = std::make_unique<replica>(
          replica_place{.threads = options.threads_per_replica, .device = homes.device(r), .rounding = rounding}, loss);
      replicas[r]->executor.skip(skips.flags());
    });
    on_all([&](std::size_t r) { homes.settle(r, replicas[r]->context(), plan.parameter_count, plan.trainable_count); });
    // Only now, because there they wait for each other.
    on_all([&](std::size_t r) { homes.join(r, replicas[r]->context()); });
    on_all([&](std::size_t r) { homes.place_gradients(r, replicas[r]->context(), replicas[r]->gradients); });
    for (std::size_t r = 0; r < count; ++r) homes.attach(r, replicas[r]->context());
    prepare();
    initialize(seed{0});
    if (options.time_limit > 0)
      guard = std::make_unique<watchdog>(options.time_limit, [this](double seconds) { report_stall(*this, seconds); });
  }
  /// Waits for a call that another thread is still in.
  ~trainer_engine() {
    while (busy.exchange(true, std::memory_order_acquire)) std::this_thread::yield();
    homes.leave(replicas);
  }

  /// Throws value_error when another thread is inside.
  [[nodiscard]] auto enter() {
    return inside<decltype(device_of<backend_type>(*front()))>{entrance(busy), device_of<backend_type>(*front())};
  }

  void initialize(seed s) {
    homes.template initialize<Model>(s);
    key = s;
    steps = 0;
    norm = std::numeric_limits<double>::quiet_NaN();
    drop_pending();
  }

  /// Checks the optimizer's options, and makes room for what they ask for.
  void prepare() {
    homes.each([&](home_type& home) { home.update.prepare(*home.front, optimizer, steps); });
  }

  /// The context through which the host reaches what all replicas share.
  [[nodiscard]] context* front() const noexcept { return &replicas[0]->context(); }

  /// Runs f(r) on every replica's thread; the first exception arrives as a replica_error.
  template <class F>
  void on_all(const F& f) {
    std::array<std::exception_ptr, count> errors{};
    team.run([&](int member) {
      const auto r = static_cast<std::size_t>(member);
      try {
        f(r);
      } catch (...) {
        errors[r] = std::current_exception();
      }
    });
    rethrow_first(errors);
  }

  [[nodiscard]] std::array<const value_type*, count> gradient_buffers() const {
    std::array<const value_type*, count> buffers{};
    for (std::size_t r = 0; r < count; ++r) buffers[r] = replicas[r]->gradients.data();
    return buffers;
  }

  void prepare_sums() {
    homes.each([](home_type& home) { home.update.prepare_sums(*home.front); });
  }
  void reduce_home(std::size_t r, bool complete) {
    homes.reduce(r, replicas[r]->context(), replicas[r]->gradients.data(), gradient_buffers(), plan.trainable_count,
                 pending, complete);
  }

  /// Forward, loss and backward on all replicas, with the reduction over ranks and homes when the gradients are
  /// `Complete` with this pass, and then `finish(r, meet)` on each, unless one has failed; meet(f) runs f and returns,
  /// with true, once all replicas have done so; with `to_sums` it reads the sums. `variant` tells what enqueues
  /// different work for one number of samples. Returns the loss.
  template <bool Complete, class Target, class Finish>
  double train(const batch<Target>& own, const batch_terms& terms, const Finish& finish, bool to_sums,
               std::uint64_t variant) {
    constexpr bool Reduce = Complete && has_ranks;
    const batch_pass<value_type, Target> pass{.images = own.images,
                                              .targets = own.targets.data(),
                                              .samples = own.samples,
                                              .now = {.scale = terms.denominator > 0 ? 1.0 / terms.denominator : 0.0,
                                                      .seed = key.value,
                                                      .step = static_cast<std::uint64_t>(steps),
                                                      .first_sample = pending_samples + terms.first_sample}};
    step_state<count> state;
    homes.level(replicas);
    now.store(steps, std::memory_order_relaxed);
    if (guard) guard->begin();
    const auto losses = [&] {
      std::array<double, leaf_count> all{};
      for (std::size_t leaf = 0; leaf < leaf_count; ++leaf)
        all[leaf] = replicas[leaf * count / leaf_count]->losses()[leaf % (leaf_count / count)];
      return tree_sum(all);
    };
    const auto communicate = [&](std::size_t part) {
      if constexpr (Reduce) {
        const track spans = track_of(N);
        const std::int64_t begin = spans.now();
        const bool failed = state.failed.load(std::memory_order_relaxed);
        if (part == ranks_type::bucket_count) return ranks.close(losses(), failed);
        ranks.reduce(part, homes.front().update, gradient_buffers(), pending, failed, skips.active());
        spans.span(begin, activity::communicate, static_cast<int>(part));
      }
    };
    if constexpr (Reduce) ranks.start(communicate);

    team.run([&](int member) {
      const auto r = static_cast<std::size_t>(member);
      replica& self = *replicas[r];
      [[maybe_unused]] const auto device = device_of<backend_type>(self.context());
      const track spans = track_of(member);
      [[maybe_unused]] walk way;
      [[maybe_unused]] const auto send = [&]([[maybe_unused]] std::size_t b) {
        [[maybe_unused]] shown_range<backend_type> range;
        if constexpr (shows_ranges<backend_type>) range.begin(label().append("gradients of bucket ").append(b).c_str());
        if constexpr (Reduce)
          ranks.arrive(b);
        else if constexpr (walks)
          homes.send(r, self.context(), self.gradients.data(), walk::buckets.buckets[b], to_sums, pending);
      };
      // A device is given work in which it waits for others once all replicas have prepared theirs: a call of theirs
      // that allocates, frees or loads may wait for that device. What is recorded runs later, and needs no such care.
      const bool apart = homes.sends_parts();
      const auto work = [&] {
        bool recorded = false;
        if constexpr (homes_type::may_send_parts) recorded = backend_type::recording(self.context());
        const bool early = Reduce || (Complete && apart && recorded);
        self.train(homes.of(r).parameters.data(), own.samples, member * leaves_per_replica, leaves, spans,
                   [&](int node, const auto& complete_from) {
                     if constexpr (walks)
                       if (early) return way.completed(node, complete_from, send);
                     if constexpr (has_ranks) ranks.note(node);
                   });
        if (apart && !recorded) state.await_ready(r);
        if constexpr (walks && !has_ranks)
          if (Complete && apart) way.rest(send);
      };
      const auto close = [&] {
        self.position.set(activity::update);
        [[maybe_unused]] const shown_range<backend_type> range("the update");
        const std::int64_t finishing = spans.now();
        finish(r, [&](const auto& f) { return meet(state, r, f); });
        spans.span(finishing, activity::update);
        self.position.set(activity::wait);
      };
      // A replica alone may have its whole step recorded; among several, all up to where they meet.
      const bool alone = homes.alone();
      const auto body = [&] {
        const std::uint64_t places = self.prepare(pass, member * leaves_per_replica, leaves);
        const std::uint64_t rule = homes.of(r).update.set_rule(homes.slice(r), self.context(), optimizer, steps);
        const std::uint64_t work_key = mix(mix(static_cast<std::uint64_t>(own.samples) << 2U | places, skips.key()),
                                           alone ? mix(rule, variant) : 0);
        const auto all = [&] {
          work();
          if (alone) close();
        };
        if (record != nullptr)
          all();
        else if constexpr (homes_type::may_send_parts)
          backend_type::replay(self.context(), work_key, all, [&] {
            if (apart) state.await_ready(r);
          });
        else
          backend_type::replay(self.context(), work_key, all);
        if constexpr (homes_type::may_send_parts) state.come_ready(r);
        if (alone) finish_step(r);
      };
      state.attempt(r, body);
      if (alone) {
        if (state.errors[r]) homes.give_up();
        return;
      }
      if constexpr (Reduce) {
        way.rest(send);
        ranks.arrive(walk::count);
      }
      self.position.set(activity::wait);
      const std::int64_t waiting = spans.now();
      bool done = true;
      if constexpr (Reduce) {
        ranks.wait();
        done = ranks.succeeded();
      } else {
        done = meet(state, r, [] {});
      }
      spans.span(waiting, activity::wait);
      if (done) state.attempt(r, close);
      if constexpr (!backend_type::host_memory) state.attempt(r, [&] { finish_step(r); });
    });
    if (guard) guard->end();

    if (state.failed.load(std::memory_order_relaxed)) {
      if (Reduce) drop_pending();  // their sums were sent
      if (homes.size() > 1) {
        homes.leave(replicas);
        stalled.rethrow();
        state.keep_first();
      }
      rethrow_first(state.errors);
    }
    if constexpr (Reduce) {
      if (!ranks.succeeded()) drop_pending();
      ranks.rethrow();
      return ranks.loss() / terms.denominator;
    }
    return losses() / terms.denominator;
  }

  /// Replica r: runs f, and returns true once all replicas have done so and none has failed; what r is given from then
  /// on comes behind what they were given before.
  template <class F>
  bool meet(step_state<count>& state, std::size_t r, const F& f) {
    if (homes.alone()) return f(), true;
    auto& c = replicas[r]->context();
    // A replica ahead records the next meeting's fence while another is still about to wait for this one's; were it the
    // same fence, the slow one would wait for work that may wait for its own.
    const std::size_t turn = replicas[r]->meetings++ % 2;
    state.attempt(r, [&] {
      f();
      replicas[r]->done[turn].record(c);
    });
    team.barrier();
    if (state.failed.load(std::memory_order_relaxed)) return false;
    for (std::size_t k = 0; k < count; ++k)
      if (k != r) replicas[k]->done[turn].hold(c);
    return true;
  }

  /// Waits for replica r's work.
  void finish_step(std::size_t r) {
    homes.finish(r, replicas[r]->context());
    replicas[r]->finished();
  }

  void drop_pending() {
    pending = false;
    pending_samples = 0;
    skips.drop();
  }

  [[nodiscard]] track track_of(int index) const {
    return {.record = record, .index = index, .step = static_cast<std::int32_t>(steps)};
  }

  /// Chooses which buckets travel together, from the link's cost and three passes over a batch.
  template <class Target>
  bucket_schedule calibrate(const batch<Target>& own, const batch_terms& terms) {
    return ranks.calibrate([&] {
      train<false>(
          own, terms, [](std::size_t, const auto&) {}, false, 0);
    });
  }

  /// Compares the parameters with those of the other ranks.
  void verify() { verify_parameters<Model, backend_type>(ranks.communicator(), homes.front().parameters.data()); }

  template <class Target>
  [[nodiscard]] double denominator_of(const batch<Target>& own) const {
    return check_batch(loss, plan.output, own, has_ranks);
  }

  optimizer_type optimizer;
  loss_type loss;
  trainer_options options;
  seed key{};
  std::int64_t steps = 0;
  double norm = std::numeric_limits<double>::quiet_NaN();
  bool pending = false;              ///< the sums hold gradients that no step has used
  std::int64_t pending_samples = 0;  ///< of those gradients
  bool summed = false;               ///< the last gradients are in the sums, not only on the replicas
  std::array<std::unique_ptr<replica>, count> replicas;
  homes_type homes;
  layer_skips<Model, backend_type> skips;
  given_up stalled;
  timeline* record = nullptr;
  std::atomic<std::int64_t> now{0};  ///< the step that runs, for other threads
  std::atomic<bool> busy{false};
  [[no_unique_address]] ranks_type ranks;
  thread_team<N> team;              // last: its threads end before what they use
  std::unique_ptr<watchdog> guard;  // reads all of the above
};

}  // namespace lockstep::detail
