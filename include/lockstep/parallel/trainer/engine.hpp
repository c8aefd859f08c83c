// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <algorithm>
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
#include <vector>

#include <lockstep/backend/capabilities.hpp>
#include <lockstep/backend/tree_sum.hpp>
#include <lockstep/core/fork_guard.hpp>
#include <lockstep/core/random.hpp>
#include <lockstep/core/shard.hpp>
#include <lockstep/model/segments.hpp>
#include <lockstep/nn/loss/members.hpp>
#include <lockstep/parallel/parameters.hpp>
#include <lockstep/parallel/policies.hpp>
#include <lockstep/parallel/precision.hpp>
#include <lockstep/parallel/ranks/bucket_walk.hpp>
#include <lockstep/parallel/ranks/rank_link.hpp>
#include <lockstep/parallel/ranks/verify.hpp>
#include <lockstep/parallel/timeline.hpp>
#include <lockstep/parallel/trainer/device_pass.hpp>
#include <lockstep/parallel/trainer/entrance.hpp>
#include <lockstep/parallel/trainer/homes.hpp>
#include <lockstep/parallel/trainer/host_pass.hpp>
#include <lockstep/parallel/trainer/layer_states.hpp>
#include <lockstep/parallel/trainer/measurement.hpp>
#include <lockstep/parallel/trainer/meeting.hpp>
#include <lockstep/parallel/trainer/profiler_ranges.hpp>
#include <lockstep/parallel/trainer/rank_pass.hpp>
#include <lockstep/parallel/trainer/replica.hpp>
#include <lockstep/parallel/trainer/rethrow_first.hpp>
#include <lockstep/parallel/trainer/skips.hpp>
#include <lockstep/parallel/trainer/stall.hpp>
#include <lockstep/parallel/trainer/thread_team.hpp>
#include <lockstep/parallel/trainer/user_batch.hpp>
#include <lockstep/parallel/trainer/watchdog.hpp>
#include <lockstep/parallel/trainer_options.hpp>

namespace lockstep::detail {

/// The inside of data_parallel: the replicas, what they share, and the course of a pass over a batch. Only
/// data_parallel holds one. All members are public, for data_parallel and for the functions in other files that take an
/// engine.
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
  /// Whether a pass waits between segments for statistics of the whole batch.
  static constexpr bool measures = replica::segments > 1;
  using skips_type = layer_skips<Model, backend_type, typename kinds::groups, optimizer_type>;
  using ranks_type = std::conditional_t<
      has_ranks,
      rank_link<Model, backend_type, N, communicator_type, hook_type, typename kinds::bucket_sizes, skips_type::layers>,
      no_ranks>;

  using states_type = layer_states<Model, typename backend_type::activation_type>;
  using homes_type = typename homes_of<backend_type, optimizer_type, count, skips_type::ranges,
                                       std::is_same_v<typename kinds::reduction, reduce::reproducible>>::type;
  using home_type = typename homes_type::home_type;
  /// Whether gradients may leave a replica bucket by bucket.
  static constexpr bool walks = has_ranks || homes_type::may_send_parts;
  using walk = std::conditional_t<walks, bucket_walk<Model, backend_type, typename kinds::bucket_sizes>, no_ranks>;

  /// One number for each loss of the model.
  using losses_type = std::array<double, Model::loss_count>;
  using terms_type = batch_terms<Model::loss_count>;

  // A backend that cannot normalise batches at all has a sentence of its own.
  static_assert(!measures || backend_type::host_memory || !normalises_batches<backend_type>,
                "lockstep: data_parallel: batch_norm needs replicas in the host's memory; use the cpu backend");

  // The sum of a replica's micro-shards is taken segment by segment.
  static_assert(!measures || !std::is_same_v<typename kinds::reduction, reduce::reproducible> ||
                    !ties_segments<Model, backend_type>(),
                "lockstep: data_parallel: reduce::reproducible cannot add the gradients of tied layers that have a "
                "batch_norm between them; use reduce::automatic, or tie no layer across it");

  template <class... Link>
  trainer_engine(optimizer_type rule, loss_type criterion, trainer_options settings, Link&&... link)
      : optimizer(std::move(rule)),
        loss(std::move(criterion)),
        options(checked(std::move(settings))),
        homes(options.devices),
        ranks(std::forward<Link>(link)...),
        statistics(*this),
        // Threads that a GPU library starts would inherit the binding of the thread that calls it.
        team(options.pin && backend_type::host_memory, options.threads_per_replica) {
    if constexpr (Model::has_loss) check_options_of(loss, Model::output_dims);
    const auto rounding = rounding_on<backend_type>("data_parallel", options.rounding, kinds::rounding);
    // Each replica makes its own buffers, so that their pages lie near its processor.
    on_all([&](std::size_t r) {
      replicas[r] = std::make_unique<replica>(
          replica_place{.threads = options.threads_per_replica, .device = homes.device(r), .rounding = rounding}, loss);
      replicas[r]->executor.skip(skips.flags());
      replicas[r]->executor.carry(states.places());
    });
    on_all([&](std::size_t r) { homes.settle(r, replicas[r]->context(), plan.value_count, plan.trainable_count); });
    if constexpr (homes_type::may_send_parts) {
      // Only after every replica has settled, because in join they wait for each other.
      on_all([&](std::size_t r) { homes.join(r, replicas[r]->context()); });
      on_all([&](std::size_t r) { homes.place_gradients(r, replicas[r]->context(), replicas[r]->gradients); });
    }
    for (std::size_t r = 0; r < count; ++r) homes.attach(r, replicas[r]->context());
    if constexpr (updates_matrices<optimizer_type>) {
      homes.each(
          [](home_type& home) { home.update.matrices.place(matrix_places<Model, backend_type, optimizer_type>); });
      on_all([&](std::size_t r) { homes.of(r).update.matrices.attach(r, replicas[r]->context()); });
    }
    prepare();
    initialize(seed{0});
    if (options.time_limit > 0)
      guard = std::make_unique<watchdog>(
          options.time_limit, [this](double seconds, const auto& give_up) { report_stall(*this, seconds, give_up); });
  }
  /// Waits for a call that another thread is still in.
  ~trainer_engine() {
    // In a forked child the watchdog's destructor would wait for a thread that does not exist.
    if (fork.crossed()) static_cast<void>(guard.release());
    // Nor does a thread that was inside as the process was forked.
    while (!fork.crossed() && busy.exchange(true, std::memory_order_acquire)) std::this_thread::yield();
    if constexpr (homes_type::may_send_parts) homes.leave(replicas);
  }

  static trainer_options checked(trainer_options settings) {
    settings.check();
    return settings;
  }

  /// Throws value_error when another thread is inside, and in a forked child, which has none of the object's threads.
  [[nodiscard]] auto enter() {
    if constexpr (count > 1 || has_ranks || !backend_type::host_memory) {
      refuse_in_child();
    } else {
      if (guard || options.threads_per_replica > 1) refuse_in_child();
    }
    return inside<decltype(device_of<backend_type>(*front()))>{entrance(busy), device_of<backend_type>(*front())};
  }

  /// Continues a run with seed s from the step that a checkpoint names.
  void resume(seed s, std::int64_t step) {
    key = s;
    steps = step;
    norm = std::numeric_limits<double>::quiet_NaN();
    half_updated = false;
    drop_passes();
    states.reset();
  }

  /// Calls f(named values) for each state of the optimizer that is in use.
  template <class F>
  void each_optimizer_state(const F& f) {
    for (std::size_t s = 0; s < optimizer_type::max_states; ++s) {
      const auto data_of = [&](home_type& home) { return home.update.state(s).data(); };
      if (homes.front().update.state(s).size() == 0) continue;
      const auto copies = homes.copies_of(data_of);
      f(named_values_range<Model, backend_type, 1, true, tensors::learning>({data_of(homes.front())}, front(), copies));
    }
  }

  void refuse_in_child() const {
    if (fork.crossed())
      throw value_error("data_parallel", "a call in the process that made the trainer", "one in a forked child of it",
                        "threads do not survive fork(); make the trainer in the child");
  }

  void initialize(seed s) {
    homes.template initialize<Model>(s);
    skips.reset_state_steps();
    resume(s, 0);
  }

  /// Throws value_error when only some replicas have made the last update.
  void check_whole() const {
    if (half_updated)
      throw value_error("data_parallel", "parameters of one step", "an update in which a replica failed",
                        has_ranks ? "broadcast() those of another rank; or call initialize(), or load a checkpoint, on "
                                    "every rank"
                                  : "call initialize(), or load a checkpoint");
  }

  /// Checks the optimizer's options and allocates the state that they need.
  void prepare() {
    homes.each([&](home_type& home) { home.update.prepare(*home.front, optimizer); });
  }

  /// Tells an optimizer that wants to know which step comes next.
  void begin_step() {
    if constexpr (requires { optimizer.begin_step(steps); }) optimizer.begin_step(steps);
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

  /// Runs forward, loss and backward on all replicas, and then `finish(part)` on each, unless one has failed. Gradients
  /// are reduced over the ranks and homes when this pass makes them `Complete`. With `to_sums`, `finish` reads the
  /// sums. `variant` differs between passes that enqueue different work for the same number of samples. Returns the
  /// loss.
  template <bool Complete, class Images, class Targets, class Finish>
  double train(const user_batch<Images, Targets>& own, const terms_type& terms, const Finish& finish,
               [[maybe_unused]] bool to_sums, [[maybe_unused]] std::uint64_t variant) {
    batch_pass<Images, decltype(own.targets.data()), Model::loss_count> pass{
        .images = own.images, .targets = own.targets.data(), .samples = own.samples, .now = {}};
    const losses_type scales = loss_scales(loss, terms.denominators);
    for (std::size_t k = 0; k < scales.size(); ++k)
      pass.now[k] = {.scale = scales[k],
                     .seed = key.value,
                     .step = static_cast<std::uint64_t>(steps),
                     .first_sample = pending_samples + terms.first_sample};
    if constexpr (!backend_type::host_memory) {
      return device_pass<Complete, trainer_engine>(*this, to_sums, variant).run(pass, terms.denominators, finish);
    } else {
      const auto note = [&]([[maybe_unused]] int node, const auto&...) {
        if constexpr (has_ranks && !Complete) ranks.note(node);
      };
      if constexpr (has_ranks && (Complete || measures))
        return rank_pass<Complete>(*this, pass, terms.denominators, note, finish);
      else
        return host_pass<Complete>(*this, pass, terms.denominators, note, finish);
    }
  }

  [[nodiscard]] auto watch() { return watched_pass(*this); }

  /// The sums of the losses of the last pass, one for each loss of the model.
  [[nodiscard]] losses_type loss_sums() const {
    losses_type sums{};
    for (std::size_t k = 0; k < sums.size(); ++k) {
      std::array<double, leaf_count> all{};
      for (std::size_t leaf = 0; leaf < leaf_count; ++leaf)
        all[leaf] = replicas[leaf * count / leaf_count]->losses()[leaf % (leaf_count / count) * sums.size() + k];
      sums[k] = tree_sum(all);
    }
    return sums;
  }
  /// The loss of a pass from the sums of its losses. Keeps the mean of each.
  double loss_of(const losses_type& sums, const losses_type& denominators) {
    for (std::size_t k = 0; k < sums.size(); ++k) means[k] = sums[k] / denominators[k];
    return weighted_sum(loss, means);
  }

  /// After a pass in which a replica has failed: throws its replica_error. `added`: the pass may have added gradients
  /// to those of earlier passes, and so spoiled them. In a `Complete` pass, a change that is half done has left the
  /// parameters half updated.
  template <bool Complete>
  [[noreturn]] void fail(meeting<count>& all, bool added) {
    if (added) drop_passes();
    if (Complete && all.half_done()) half_updated = true;
    if constexpr (homes_type::may_send_parts) give_up(all);
    rethrow_first(all.errors());
    std::terminate();  // not reached: a replica has failed
  }

  /// After a failure: where replicas have several homes, those that waited for the failed one have failed too. Keeps
  /// the first failure alone. Throws backend_error when the watchdog gave the step up.
  void give_up(meeting<count>& all) {
    if (homes.size() == 1) return;
    homes.leave(replicas);
    stalled.rethrow();
    all.keep_first();
  }

  /// Waits for replica r's work.
  void finish_replica(std::size_t r) {
    homes.finish(r, replicas[r]->context());
    replicas[r]->finished();
  }

  /// Counts a step that has changed the parameters.
  void count_step() {
    ++steps;
    statistics.commit();
    states.commit();
    if (optimizer.states() > 0) skips.count_state_step();
  }

  /// After a pass: keeps what it has measured, and the states that its samples have left, until a step is accepted.
  void stage(std::int64_t samples) {
    statistics.stage();
    states.stage(samples, [&](std::size_t leaf) { return skips.runs(leaf); });
  }

  /// The passes since the last step count for nothing.
  void drop_passes() {
    drop_pending();
    statistics.drop();
    states.drop();
  }
  void drop_pending() {
    failed_to_accumulate = false;
    pending = false;
    pending_samples = 0;
    skips.drop();
  }

  [[nodiscard]] track track_of(int index) const {
    return {.record = record, .index = index, .step = static_cast<std::int32_t>(steps)};
  }

  /// Measures the link and three passes over a batch, and chooses from them which buckets travel together.
  template <class Batch>
  bucket_schedule calibrate(const Batch& own, const terms_type& terms) {
    return ranks.calibrate([&] {
      train<false>(
          own, terms, [](auto&&) {}, false, 0);
    });
  }

  /// Compares the parameters with those of the other ranks.
  void verify() { verify_parameters<Model, backend_type>(ranks.communicator(), homes.front().parameters.data()); }

  template <class Batch>
  [[nodiscard]] losses_type denominators_of(const Batch& own) const {
    return check_batch(loss, plan.output, own, has_ranks);
  }

  optimizer_type optimizer;
  loss_type loss;
  trainer_options options;
  seed key{};
  std::int64_t steps = 0;
  double norm = std::numeric_limits<double>::quiet_NaN();
  losses_type means{};               ///< the mean of each loss over the last batch
  bool pending = false;              ///< the sums hold gradients that no step has used
  std::int64_t pending_samples = 0;  ///< samples behind those gradients
  bool summed = false;               ///< the last gradients are in the sums, not only on the replicas
  /// This rank failed to accumulate what other ranks may have accumulated.
  bool failed_to_accumulate = false;
  bool half_updated = false;  ///< a replica or this rank failed in an update that others have made
  std::array<std::unique_ptr<replica>, count> replicas;
  homes_type homes;
  skips_type skips;
  states_type states;
  given_up stalled;
  timeline* record = nullptr;
  std::atomic<std::int64_t> now{0};  ///< the running step, for other threads
  std::atomic<bool> busy{false};
  fork_guard fork;
  [[no_unique_address]] ranks_type ranks;
  [[no_unique_address]] std::conditional_t<measures, measurement<trainer_engine>, no_measurement> statistics;
  thread_team<N> team;              // last: its threads end before what they use
  std::unique_ptr<watchdog> guard;  // reads all of the above
};

}  // namespace lockstep::detail
