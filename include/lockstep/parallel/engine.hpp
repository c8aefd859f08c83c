// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <algorithm>
#include <array>
#include <atomic>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <exception>
#include <limits>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <thread>
#include <type_traits>
#include <utility>

#include <lockstep/backend/tree_sum.hpp>
#include <lockstep/core/error.hpp>
#include <lockstep/core/random.hpp>
#include <lockstep/core/tensor.hpp>
#include <lockstep/model/initialize.hpp>
#include <lockstep/parallel/entrance.hpp>
#include <lockstep/parallel/evaluation.hpp>
#include <lockstep/parallel/find_non_finite.hpp>
#include <lockstep/parallel/gradient_update.hpp>
#include <lockstep/parallel/parallel_apply.hpp>
#include <lockstep/parallel/policies.hpp>
#include <lockstep/parallel/ranks.hpp>
#include <lockstep/parallel/replica.hpp>
#include <lockstep/parallel/shard.hpp>
#include <lockstep/parallel/thread_team.hpp>
#include <lockstep/parallel/timeline.hpp>
#include <lockstep/parallel/trainer_options.hpp>
#include <lockstep/parallel/verify.hpp>
#include <lockstep/parallel/watchdog.hpp>

namespace lockstep::detail {

/// What data_parallel is made of: the replicas, what they share, and the course of a step. Members are open to
/// data_parallel, which is all that holds one.
template <class Model, int N, class... Policies>
struct trainer_engine {
  using kinds = policies<Policies...>;
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
  using ranks_type =
      std::conditional_t<has_ranks,
                         rank_link<Model, backend_type, N, communicator_type, hook_type, typename kinds::bucket_sizes>,
                         no_ranks>;

  /// A batch of this process, checked by nobody yet.
  template <class Target>
  struct batch {
    const value_type* images;
    std::span<const Target> targets;
    std::int64_t samples;
  };

  template <class... Link>
  trainer_engine(optimizer_type rule, loss_type criterion, trainer_options settings, Link&&... link)
      : optimizer(std::move(rule)),
        loss(std::move(criterion)),
        options(std::move(settings)),
        parameters(plan.parameter_count),
        update(plan.trainable_count),
        ranks(std::forward<Link>(link)...),
        team(options.pin) {
    options.check();
    if constexpr (Model::has_loss) loss.check_options(Model::output_dims);
    update.prepare(optimizer, steps);
    // Each replica makes its own buffers, so that their pages lie near its processor.
    on_all([&](std::size_t r) { replicas[r] = std::make_unique<replica>(options.threads_per_replica); });
    initialize(seed{0});
    if (options.time_limit > 0)
      guard =
          std::make_unique<watchdog>(options.time_limit, [this](double seconds) { options.on_stall(where(seconds)); });
  }
  /// Waits for a call that another thread is still in.
  ~trainer_engine() {
    while (busy.exchange(true, std::memory_order_acquire)) std::this_thread::yield();
  }

  /// Throws value_error when another thread is inside.
  [[nodiscard]] entrance enter() { return entrance(busy); }

  void initialize(seed s) {
    initialize_parameters<Model, backend_type>(parameters.data(), s);
    update.reset();
    key = s;
    steps = 0;
    norm = std::numeric_limits<double>::quiet_NaN();
    drop_pending();
  }

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

  /// Calls f(leaf, its samples) for the leaves of replica r.
  template <class F>
  static void each_leaf(std::size_t r, std::int64_t samples, const F& f) {
    const int first = static_cast<int>(r) * leaves_per_replica;
    for (int leaf = first; leaf < first + leaves_per_replica; ++leaf) f(leaf, shard_of(samples, leaves, leaf));
  }

  [[nodiscard]] std::array<const value_type*, count> gradient_buffers() const {
    std::array<const value_type*, count> buffers{};
    for (std::size_t r = 0; r < count; ++r) buffers[r] = replicas[r]->gradients.data();
    return buffers;
  }

  /// Checks a batch, and agrees with the other ranks on what all need to know of each other's.
  template <class Target>
  batch_terms agree(rank_call call, const batch<Target>& own, std::optional<double> given) {
    double denominator = 0;
    std::exception_ptr refused;
    try {
      update.prepare(optimizer, steps);
      denominator = check_batch(own.samples, own.targets);
      if (given && !(*given > 0))
        throw value_error("data_parallel", "a denominator above zero", std::to_string(*given));
    } catch (...) {
      if (!has_ranks) throw;
      refused = std::current_exception();
    }
    batch_terms terms{.denominator = denominator, .samples = own.samples};
    if constexpr (has_ranks) {
      terms = ranks.agree(call, denominator, own.samples, refused != nullptr);
      if (refused) std::rethrow_exception(refused);
    }
    if (given) terms.denominator = *given;
    return terms;
  }

  template <class Target>
  double step(const batch<Target>& own, const batch_terms& terms) {
    const bool measured =
        options.max_norm < std::numeric_limits<double>::infinity() || options.non_finite != non_finite::ignore;
    const bool sum_first = has_ranks || measured || pending;
    if (sum_first) update.prepare_sums();
    bool skipped = false;
    const double result = train<has_ranks>(own, terms, [&](std::size_t r) {
      auto& context = replicas[r]->executor.context();
      if (!sum_first) return update.fused(r, context, gradient_buffers(), parameters.data(), optimizer, steps);
      if constexpr (!has_ranks) update.reduce(r, context, gradient_buffers(), pending);
      double scale = 1;
      if (measured) {
        update.measure(r, context);
        team.barrier();
        const double measure = update.norm();
        const bool skip = options.non_finite != non_finite::ignore && !std::isfinite(measure);
        if (r == 0) norm = measure, skipped = skip;
        if (skip) return;
        // The small term as in torch.nn.utils.clip_grad_norm_.
        if (measure > options.max_norm) scale = std::min(1.0, options.max_norm / (measure + 1e-6));
      }
      update.apply(r, context, parameters.data(), optimizer, steps, scale);
    });
    drop_pending();
    summed = sum_first;
    if (skipped)
      report_non_finite();
    else
      ++steps;
    if constexpr (has_ranks)
      if (options.verify_every > 0 && steps % options.verify_every == 0) verify();
    return result;
  }

  template <class Target>
  double accumulate(const batch<Target>& own, const batch_terms& terms) {
    update.prepare_sums();
    const double result = train<false>(own, terms, [&](std::size_t r) {
      update.reduce(r, replicas[r]->executor.context(), gradient_buffers(), pending);
    });
    pending = true;
    pending_samples += terms.samples;
    summed = true;
    return result;
  }

  /// Forward, loss and backward on all replicas, with the reduction over the ranks when `Reduce`, and then `finish(r)`
  /// on each, unless one has failed. Returns the loss.
  template <bool Reduce, class Target, class Finish>
  double train(const batch<Target>& own, const batch_terms& terms, const Finish& finish) {
    const batch_pass<value_type, loss_type, Target> pass{.loss = loss,
                                                         .parameters = parameters.data(),
                                                         .images = own.images,
                                                         .targets = own.targets.data(),
                                                         .samples = own.samples,
                                                         .scale = terms.denominator > 0 ? 1.0 / terms.denominator : 0.0,
                                                         .key = {.seed = key.value,
                                                                 .step = static_cast<std::uint64_t>(steps),
                                                                 .layer = 0,
                                                                 .first_sample = pending_samples + terms.first_sample}};
    std::array<double, leaf_count> losses{};
    std::atomic<bool> failed{false};
    std::array<std::exception_ptr, count> errors{};

    now.store(steps, std::memory_order_relaxed);
    if (guard) guard->begin();
    const auto communicate = [&](std::size_t part) {
      if constexpr (Reduce) {
        const track spans = track_of(N);
        const std::int64_t begin = spans.now();
        if (part == ranks_type::bucket_count)
          return ranks.close(tree_sum(losses), failed.load(std::memory_order_relaxed));
        ranks.reduce(part, gradient_buffers(), update.sums(), pending, failed.load(std::memory_order_relaxed));
        spans.span(begin, activity::communicate, static_cast<int>(part));
      }
    };
    if constexpr (Reduce) ranks.start(communicate);

    team.run([&](int member) {
      const auto r = static_cast<std::size_t>(member);
      replica& self = *replicas[r];
      const track spans = track_of(member);
      [[maybe_unused]] std::size_t next = 0;  // bucket
      try {
        self.train(pass, member * leaves_per_replica, leaves, losses, spans,
                   [&](int node, const auto& complete_from) noexcept {
                     if constexpr (Reduce)
                       ranks.completed(node, next, complete_from);
                     else if constexpr (has_ranks)
                       ranks.note(node);
                   });
      } catch (...) {
        errors[r] = std::current_exception();
        failed.store(true, std::memory_order_relaxed);
      }
      if constexpr (Reduce) ranks.completed_all(next);
      self.position.set(activity::wait);
      const std::int64_t waiting = spans.now();
      bool done = true;
      if constexpr (Reduce) {
        ranks.wait();
        done = ranks.succeeded();
      } else {
        team.barrier();
        done = !failed.load(std::memory_order_relaxed);
      }
      spans.span(waiting, activity::wait);
      if (!done) return;
      self.position.set(activity::update);
      const std::int64_t finishing = spans.now();
      finish(r);
      spans.span(finishing, activity::update);
      self.position.set(activity::wait);
    });
    if (guard) guard->end();

    if (failed.load(std::memory_order_relaxed)) {
      if (Reduce) drop_pending();  // their sums were sent
      rethrow_first(errors);
    }
    if constexpr (Reduce) {
      if (!ranks.succeeded()) drop_pending();
      ranks.rethrow();
      return ranks.loss() / terms.denominator;
    }
    return tree_sum(losses) / terms.denominator;
  }

  /// Where the current step is, for another thread.
  [[nodiscard]] stall_report where(double seconds) const {
    stall_report report{.step = now.load(std::memory_order_relaxed), .seconds = seconds, .doing = {}};
    locate<Model, backend_type>(replicas, report);
    if constexpr (has_ranks) {
      const std::size_t part = ranks.position();
      if (part < ranks_type::bucket_count) report.bucket = static_cast<int>(part);
    }
    if (report.replica < 0) report.doing = has_ranks ? "all replicas wait for the communicator" : "no replica works";
    return report;
  }

  void drop_pending() {
    pending = false;
    pending_samples = 0;
  }

  [[nodiscard]] track track_of(int index) const {
    return {.record = record, .index = index, .step = static_cast<std::int32_t>(steps)};
  }

  /// The outputs of a batch, in order, to `out`.
  void forward(const value_type* images, std::int64_t samples, value_type* out) {
    on_all([&](std::size_t r) {
      each_leaf(r, samples, [&](int, const shard_range& part) {
        replicas[r]->executor.forward(parameters.data(), images + part.first * plan.input.size(), part.count,
                                      out + part.first * plan.output.size());
      });
    });
  }

  template <class Target>
  [[nodiscard]] evaluation evaluate(const batch<Target>& own) {
    evaluation all{.denominator = check_batch(own.samples, own.targets)};
    std::array<evaluation, leaf_count> parts{};
    on_all([&](std::size_t r) {
      each_leaf(r, own.samples, [&](int leaf, const shard_range& shard) {
        parts[static_cast<std::size_t>(leaf)] = evaluate_shard<Model, backend_type>(
            replicas[r]->executor, loss, parameters.data(), own.images + shard.first * plan.input.size(),
            own.targets.data() + shard.first * loss.target_size(plan.output), shard.count);
      });
    });
    return all += tree_sum(parts);
  }

  /// Chooses which buckets travel together, from the link's cost and three passes over a batch.
  template <class Target>
  bucket_schedule calibrate(const batch<Target>& own, const batch_terms& terms) {
    return ranks.calibrate([&] { train<false>(own, terms, [](std::size_t) {}); });
  }

  /// Compares the parameters with those of the other ranks.
  void verify() { verify_parameters<Model, backend_type>(ranks.communicator(), parameters.data()); }

  /// Gives every rank the parameters, optimizer state, seed and step counter of one.
  void broadcast(int root) {
    auto& communicator = ranks.communicator();
    communicator.broadcast(std::span<value_type>(parameters.data(), static_cast<std::size_t>(plan.parameter_count)),
                           root);
    const auto [from_seed, from_steps] =
        counters_of_root<2>(communicator, root, {key.value, static_cast<std::uint64_t>(steps)});
    key = seed{from_seed};
    steps = static_cast<std::int64_t>(from_steps);
    update.prepare(optimizer, steps);
    update.each_state([&](std::span<value_type> state) { communicator.broadcast(state, root); });
    drop_pending();
  }

  /// Finds out where the NaN or infinity of the last gradients is, and calls or throws as the options say.
  void report_non_finite() {
    const auto report =
        find_non_finite<Model, backend_type>(replicas[0]->executor.context(), steps, gradient_buffers(), update.sums());
    if (options.on_non_finite) options.on_non_finite(report);
    if (options.non_finite == non_finite::stop) throw non_finite_error(report);
  }

  /// Checks a batch against its targets; returns the denominator of its loss.
  template <class Target>
  double check_batch(std::int64_t samples, std::span<const Target> targets) const {
    if (samples < 1 && !has_ranks)
      throw shape_error("data_parallel", "a batch of one sample or more", std::to_string(samples));
    const std::int64_t wanted = samples * loss.target_size(plan.output);
    if (static_cast<std::int64_t>(targets.size()) != wanted)
      throw shape_error("data_parallel",
                        std::to_string(wanted) + " targets for " + std::to_string(samples) + " samples",
                        std::to_string(targets.size()));
    return loss.denominator(targets.data(), wanted, plan.output);
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
  aligned_buffer<value_type> parameters;
  gradient_update<backend_type, optimizer_type, count> update;
  std::array<std::unique_ptr<replica>, count> replicas;
  timeline* record = nullptr;
  std::atomic<std::int64_t> now{0};  ///< the step that runs, for other threads
  std::atomic<bool> busy{false};
  [[no_unique_address]] ranks_type ranks;
  thread_team<N> team;              // last: its threads end before what they use
  std::unique_ptr<watchdog> guard;  // reads all of the above
};

}  // namespace lockstep::detail
