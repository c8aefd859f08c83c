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
#include <utility>

#include <lockstep/backend/tree_sum.hpp>
#include <lockstep/core/error.hpp>
#include <lockstep/core/random.hpp>
#include <lockstep/core/tensor.hpp>
#include <lockstep/model/executor.hpp>
#include <lockstep/model/initialize.hpp>
#include <lockstep/parallel/entrance.hpp>
#include <lockstep/parallel/evaluation.hpp>
#include <lockstep/parallel/find_non_finite.hpp>
#include <lockstep/parallel/gradient_tree.hpp>
#include <lockstep/parallel/gradient_update.hpp>
#include <lockstep/parallel/parallel_apply.hpp>
#include <lockstep/parallel/parameters.hpp>
#include <lockstep/parallel/policies.hpp>
#include <lockstep/parallel/shard.hpp>
#include <lockstep/parallel/thread_team.hpp>
#include <lockstep/parallel/trainer_options.hpp>

namespace lockstep {

/// N replicas of a model that train in lockstep on one machine, as torch.nn.DataParallel does, with the results of one
/// device.
///
/// A step cuts the batch into N shards, runs forward, loss and backward on each in a thread of its own, sums the
/// gradients and applies the optimizer; the loss has one denominator for the whole batch, so that shard sizes, class
/// weights and ignored targets cannot enter. Replicas read one copy of the parameters, and each updates its 1/N.
/// After the first steps of a batch size, a step neither allocates nor takes a lock.
///
/// Policies, in any order: a backend (default cpu), an optimizer (default sgd), a reduction (default
/// reduce::automatic; reduce::reproducible gives the same bits for any N), micro_shards<V> (default 8).
///
/// One thread at a time may call into the object; a second one gets an exception. When a call throws, the parameters
/// are as before it and the object is usable.
template <class Model, int N, class... Policies>
class data_parallel {
  static_assert(N >= 1, "lockstep: data_parallel: one replica or more");

 public:
  using model_type = Model;
  using backend_type = typename detail::policies<Policies...>::backend;
  using optimizer_type = typename detail::policies<Policies...>::optimizer;
  using loss_type = typename Model::loss_type;
  using value_type = typename backend_type::value_type;
  using input_shape = batch_shape<Model::input_dims>;
  using output_shape = batch_shape<Model::output_dims>;
  using input_view = tensor_view<const value_type, input_shape>;
  using output_tensor = tensor<value_type, output_shape>;

  static constexpr int replicas = N;
  /// Parts of a batch whose gradients are added as a balanced tree: N, or the micro-shards of reduce::reproducible.
  static constexpr int leaves = detail::policies<Policies...>::template leaves<N>;
  /// The static plan: nodes, parameters, arena.
  static constexpr const auto& plan = Model::template plan<backend_type>;

  /// Allocates parameters, optimizer state and one gradient buffer a replica, and starts N - 1 threads. Parameters are
  /// those of `initialize(seed{0})`. Throws value_error for options out of their domain.
  explicit data_parallel(optimizer_type optimizer = {}, loss_type loss = {}, trainer_options options = {})
      : optimizer_(std::move(optimizer)),
        loss_(std::move(loss)),
        options_(std::move(options)),
        parameters_(plan.parameter_count),
        update_(plan.parameter_count),
        team_(options_.pin) {
    options_.check();
    if constexpr (Model::has_loss) loss_.check_options(Model::output_dims);
    update_.prepare(optimizer_, step_);
    // Each replica makes its own buffers, so that their pages lie near its processor.
    on_all([&](std::size_t r) { replicas_[r] = std::make_unique<replica>(options_.threads_per_replica); });
    initialize(seed{0});
  }

  data_parallel(const data_parallel&) = delete;
  data_parallel& operator=(const data_parallel&) = delete;
  ~data_parallel() = default;

  /// Draws fresh parameters (PyTorch's default distributions), clears the optimizer's state and the step counter. The
  /// seed also keys dropout.
  void initialize(seed s) {
    const auto entered = enter();
    initialize_parameters<Model, backend_type>(parameters_.data(), s);
    update_.reset();
    seed_ = s;
    step_ = 0;
    norm_ = std::numeric_limits<double>::quiet_NaN();
    pending_ = false;
  }

  /// One training step on a batch of any size from 1: returns the loss of the whole batch before the update.
  ///
  /// images: (B, input...), targets: what the loss takes, class indices (B) or values (B, output...).
  /// `denominator` is what the sum of the samples' losses is divided by; without it the batch's own: the samples, or
  /// the weights of kept targets. Gradients of `accumulate` calls before are part of the step.
  /// Throws shape_error or value_error for a batch that does not fit or for options of the optimizer that were set
  /// since and make no sense, replica_error for what a replica threw, non_finite_error when options say so.
  template <class L = loss_type>
  double step(input_view images, std::span<const typename L::template target_type<value_type>> targets,
              std::optional<double> denominator = {}) {
    const auto entered = enter();
    update_.prepare(optimizer_, step_);
    const bool measured =
        options_.max_norm < std::numeric_limits<double>::infinity() || options_.non_finite != non_finite::ignore;
    const bool summed = measured || pending_;
    if (summed) update_.prepare_sums();
    bool skipped = false;
    const double loss = train(images, targets, denominator, [&](std::size_t r) {
      auto& context = replicas_[r]->executor.context();
      if (!summed) return update_.fused(r, context, gradient_buffers(), parameters_.data(), optimizer_, step_);
      update_.reduce(r, context, gradient_buffers(), pending_);
      double scale = 1;
      if (measured) {
        update_.measure(r, context);
        team_.barrier();
        const double norm = update_.norm();
        const bool skip = options_.non_finite != non_finite::ignore && !std::isfinite(norm);
        if (r == 0) norm_ = norm, skipped = skip;
        if (skip) return;
        // The small term as in torch.nn.utils.clip_grad_norm_.
        if (norm > options_.max_norm) scale = std::min(1.0, options_.max_norm / (norm + 1e-6));
      }
      update_.apply(r, context, parameters_.data(), optimizer_, step_, scale);
    });
    pending_ = false;
    summed_ = summed;
    if (skipped)
      report_non_finite();
    else
      ++step_;
    return loss;
  }

  /// Forward, loss and backward of a batch whose gradients the next `step` adds to its own, as batches under
  /// torch's no_sync do: nothing is updated, nothing leaves this process. Returns the batch's loss.
  ///
  /// Without `denominator` each batch is divided by its own, and the gradients of k batches are k times those of one
  /// batch as large; pass the denominator of all of them together to have exactly that batch.
  template <class L = loss_type>
  double accumulate(input_view images, std::span<const typename L::template target_type<value_type>> targets,
                    std::optional<double> denominator = {}) {
    const auto entered = enter();
    update_.prepare_sums();
    const double loss = train(images, targets, denominator, [&](std::size_t r) {
      update_.reduce(r, replicas_[r]->executor.context(), gradient_buffers(), pending_);
    });
    pending_ = true;
    summed_ = true;
    return loss;
  }

  template <class... Arguments>
    requires(!Model::has_loss)
  double step(const Arguments&...) {
    static_assert(
        Model::has_loss && sizeof...(Arguments) >= 0,
        "lockstep: data_parallel::step: the model has no loss; name one: model<net, input<...>, cross_entropy>");
    return 0;
  }

  /// The outputs for a batch of any size, gathered in the order of the samples: (B, output...). Layers behave as in
  /// evaluation (no dropout).
  [[nodiscard]] output_tensor forward(input_view images) {
    output_tensor out(images.extent(0));
    forward(images, out.view());
    return out;
  }

  /// The same into memory of the caller. Throws shape_error when the lengths differ.
  void forward(input_view images, tensor_view<value_type, output_shape> out) {
    const auto entered = enter();
    if (out.extent(0) != images.extent(0))
      throw shape_error("data_parallel::forward", std::to_string(images.extent(0)) + " rows of output",
                        std::to_string(out.extent(0)));
    on_all([&](std::size_t r) {
      each_leaf(r, images.extent(0), [&](int, const shard_range& part) {
        replicas_[r]->executor.forward(parameters_.data(), images.data_handle() + part.first * plan.input.size(),
                                       part.count, out.data_handle() + part.first * plan.output.size());
      });
    });
  }

  /// Loss and hits of a batch without training.
  template <class L = loss_type>
  [[nodiscard]] evaluation evaluate(input_view images,
                                    std::span<const typename L::template target_type<value_type>> targets) {
    const auto entered = enter();
    evaluation all{.denominator = check_batch(images, targets)};
    std::array<evaluation, leaf_count> parts{};
    on_all([&](std::size_t r) {
      each_leaf(r, images.extent(0), [&](int leaf, const shard_range& shard) {
        parts[static_cast<std::size_t>(leaf)] = evaluate_part(*replicas_[r], images, targets, shard);
      });
    });
    return all += tree_sum(parts);
  }

  template <class... Arguments>
    requires(!Model::has_loss)
  evaluation evaluate(const Arguments&...) {
    static_assert(Model::has_loss && sizeof...(Arguments) >= 0,
                  "lockstep: data_parallel::evaluate: the model has no loss; name one: "
                  "model<net, input<...>, cross_entropy>");
    return {};
  }

  /// The learnable tensors by PyTorch's names, readable and writable.
  [[nodiscard]] auto parameters() { return named_values_range<Model, backend_type, 1, true>({parameters_.data()}); }
  [[nodiscard]] auto parameters() const {
    return named_values_range<Model, backend_type, 1, false>({parameters_.data()});
  }

  /// The gradients of the last step, summed over the replicas; before they were clipped.
  [[nodiscard]] auto gradients() const {
    auto buffers = gradient_buffers();
    if (summed_) {
      // Zero from all but the first keeps the bits.
      buffers.fill(nullptr);
      buffers[0] = update_.sums();
    }
    return named_values_range<Model, backend_type, count, false>(buffers);
  }

  /// The norm of all gradients of the last step together, before clipping; NaN unless max_norm or non_finite is set.
  [[nodiscard]] double gradient_norm() const noexcept { return norm_; }

  /// The optimizer; its options may be changed between steps. One that comes to need state gets it in the next step.
  [[nodiscard]] optimizer_type& optimizer() noexcept { return optimizer_; }
  [[nodiscard]] const optimizer_type& optimizer() const noexcept { return optimizer_; }
  [[nodiscard]] const loss_type& loss() const noexcept { return loss_; }

  /// Steps since initialize().
  [[nodiscard]] std::int64_t steps() const noexcept { return step_; }

 private:
  static constexpr auto count = static_cast<std::size_t>(N);

  static constexpr auto leaf_count = static_cast<std::size_t>(leaves);
  static constexpr int leaves_per_replica = leaves / N;

  struct replica {
    explicit replica(int threads) : executor(threads), gradients(plan.parameter_count), tree(plan.parameter_count) {}

    lockstep::executor<Model, backend_type> executor;
    aligned_buffer<value_type> gradients;
    detail::gradient_tree<value_type, leaves_per_replica> tree;
  };

  [[nodiscard]] detail::entrance enter() { return detail::entrance(busy_); }

  /// Runs f(r) on every replica's thread; the first exception arrives as a replica_error.
  template <class F>
  void on_all(const F& f) {
    std::array<std::exception_ptr, count> errors{};
    team_.run([&](int member) {
      const auto r = static_cast<std::size_t>(member);
      try {
        f(r);
      } catch (...) {
        errors[r] = std::current_exception();
      }
    });
    detail::rethrow_first(errors);
  }

  /// Calls f(leaf, its samples) for the leaves of replica r.
  template <class F>
  static void each_leaf(std::size_t r, std::int64_t samples, const F& f) {
    const int first = static_cast<int>(r) * leaves_per_replica;
    for (int leaf = first; leaf < first + leaves_per_replica; ++leaf) f(leaf, shard_of(samples, leaves, leaf));
  }

  [[nodiscard]] std::array<const value_type*, count> gradient_buffers() const {
    std::array<const value_type*, count> buffers{};
    for (std::size_t r = 0; r < count; ++r) buffers[r] = replicas_[r]->gradients.data();
    return buffers;
  }

  /// Forward, loss and backward on all replicas, and then `finish(r)` on each, unless one has failed. Returns the loss.
  template <class Target, class Finish>
  double train(const input_view& images, std::span<const Target> targets, std::optional<double> given,
               const Finish& finish) {
    const double own = check_batch(images, targets);
    if (given && !(*given > 0)) throw value_error("data_parallel", "a denominator above zero", std::to_string(*given));
    const double denominator = given.value_or(own);
    const double scale = denominator > 0 ? 1.0 / denominator : 0.0;
    std::array<double, leaf_count> sums{};
    std::atomic<bool> failed{false};
    std::array<std::exception_ptr, count> errors{};
    const std::int64_t samples = images.extent(0);

    team_.run([&](int member) {
      const auto r = static_cast<std::size_t>(member);
      try {
        replica& self = *replicas_[r];
        const auto leaf_of = [&](int i) { return member * leaves_per_replica + i; };
        self.tree.sum(
            self.gradients.data(),
            [&](int i, value_type* to, bool accumulate) {
              const shard_range part = shard_of(samples, leaves, leaf_of(i));
              const dropout_key key{.seed = seed_.value,
                                    .step = static_cast<std::uint64_t>(step_),
                                    .layer = 0,
                                    .first_sample = part.first};
              sums[static_cast<std::size_t>(leaf_of(i))] = self.executor.train(
                  loss_, parameters_.data(), to, images.data_handle() + part.first * plan.input.size(),
                  targets.data() + part.first * loss_.target_size(plan.output), part.count, key, scale, accumulate);
            },
            [&](int i) { return self.executor.in_one_piece(shard_of(samples, leaves, leaf_of(i)).count); },
            [&](const value_type* from, value_type* to) {
              backend_type::add(self.executor.context(), plan.parameter_count, from, to);
            });
      } catch (...) {
        errors[r] = std::current_exception();
        failed.store(true, std::memory_order_relaxed);
      }
      team_.barrier();
      if (!failed.load(std::memory_order_relaxed)) finish(r);
    });

    if (failed.load(std::memory_order_relaxed)) detail::rethrow_first(errors);
    return tree_sum(sums) / denominator;
  }

  template <class Target>
  evaluation evaluate_part(replica& self, const input_view& images, std::span<const Target> targets,
                           const shard_range& shard) const {
    evaluation part;
    self.executor.infer(parameters_.data(), images.data_handle() + shard.first * plan.input.size(), shard.count,
                        [&](std::int64_t first, std::int64_t samples, const value_type* y) {
                          const auto* t = targets.data() + (shard.first + first) * loss_.target_size(plan.output);
                          part.loss_sum += loss_.template forward_backward<backend_type>(
                              self.executor.context(), samples, plan.output, y, t, 1.0, nullptr);
                          part.correct += loss_.correct(samples, plan.output, y, t);
                          part.counted += loss_.counted(samples, t);
                        });
    return part;
  }

  /// Finds out where the NaN or infinity of the last gradients is, and calls or throws as the options say.
  void report_non_finite() {
    const auto report = detail::find_non_finite<Model, backend_type>(replicas_[0]->executor.context(), step_,
                                                                     gradient_buffers(), update_.sums());
    if (options_.on_non_finite) options_.on_non_finite(report);
    if (options_.non_finite == non_finite::stop) throw non_finite_error(report);
  }

  /// Checks a batch against its targets; returns the denominator of its loss.
  template <class Target>
  double check_batch(const input_view& images, std::span<const Target> targets) const {
    const std::int64_t samples = images.extent(0);
    if (samples < 1) throw shape_error("data_parallel", "a batch of one sample or more", std::to_string(samples));
    const std::int64_t wanted = samples * loss_.target_size(plan.output);
    if (static_cast<std::int64_t>(targets.size()) != wanted)
      throw shape_error("data_parallel",
                        std::to_string(wanted) + " targets for " + std::to_string(samples) + " samples",
                        std::to_string(targets.size()));
    return loss_.denominator(targets.data(), wanted, plan.output);
  }

  optimizer_type optimizer_;
  loss_type loss_;
  trainer_options options_;
  seed seed_;
  std::int64_t step_ = 0;
  double norm_ = std::numeric_limits<double>::quiet_NaN();
  bool pending_ = false;  ///< the sums hold gradients that no step has used
  bool summed_ = false;   ///< the last gradients are in the sums, not only on the replicas
  aligned_buffer<value_type> parameters_;
  detail::gradient_update<backend_type, optimizer_type, count> update_;
  std::array<std::unique_ptr<replica>, count> replicas_;
  std::atomic<bool> busy_{false};
  thread_team<N> team_;  // last: its threads end before what they use
};

}  // namespace lockstep
