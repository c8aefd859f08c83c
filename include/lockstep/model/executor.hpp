// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

#include <lockstep/backend/backend.hpp>
#include <lockstep/backend/replica_place.hpp>
#include <lockstep/backend/step_values.hpp>
#include <lockstep/core/static_for.hpp>
#include <lockstep/model/batch_statistics.hpp>
#include <lockstep/model/input_pack.hpp>
#include <lockstep/model/output_pack.hpp>
#include <lockstep/model/pipeline.hpp>
#include <lockstep/model/segments.hpp>

namespace lockstep {

/// Samples in one micro-shard: the largest power of two, at most `largest_pass`, whose activations in one segment fit
/// the backend's caches, or, where that is more, take no more than four times the memory of the parameters, and 64 MB;
/// at least 1. A replica walks its shard in micro-shards and adds their gradients. Each of them reads all parameters
/// and adds to all gradients once more: with many parameters that costs more than activations that leave the caches.
template <class Model, class B>
inline constexpr std::int64_t micro_shard = [] {
  constexpr const auto& plan = Model::template plan<B>;
  const auto activation = static_cast<std::int64_t>(sizeof(typename B::activation_type));
  const auto parameters = plan.value_count * static_cast<std::int64_t>(sizeof(typename B::value_type));
  const std::int64_t bytes =
      (std::max)(std::int64_t{B::cache_bytes}, (std::min)(4 * parameters, std::int64_t{64} << 20U));
  std::int64_t samples = 1;
  while (samples < B::largest_pass && 2 * samples * plan.working_size * activation <= bytes) samples *= 2;
  return samples;
}();

/// Runs one replica of a model. Owns the replica's context, its ops for the batch sizes it has met, and its activation
/// arena. The caller owns parameters and gradients; all memory is the backend's. Not thread-safe: one thread at a time.
///
/// A training or inference pass may prepare ops and allocate when its batch is larger than every earlier one of its
/// kind; other passes do neither. Where a layer's op is bound to its number of samples (see `layer`), a pass also
/// prepares ops for every batch size that is new or has not been used for long.
template <class Model, class B>
class executor {
  static constexpr const auto& plan = Model::template plan<B>;

 public:
  using value = typename B::value_type;
  using activation = typename B::activation_type;
  using context_type = typename B::context;
  using loss_type = typename Model::loss_type;
  /// Where samples lie: a pointer, or the pack of several inputs.
  using samples_type = detail::input_pack<Model, const value>;
  using loss_op = typename loss_type::template op<B>;

  explicit executor(const replica_place& place = {}, const loss_type& loss = {})
      : context_(place),
        loss_(context_, loss),
        converted_(B::template allocate<activation>(context_, converts_values<B> ? plan.value_count : 0)) {}

  /// Makes later passes skip the layers and composites whose flag is set. `flags` has one flag for each layer, then one
  /// for each of the model's `skippable_parts`, or is null to skip none, and must outlive those passes.
  void skip(const bool* flags) noexcept { skipped_ = flags; }

  /// For a model whose samples are single rows that come one after the other: their place in the next passes, of at
  /// most one micro-shard, without training. Null where rows are samples of their own, as at first.
  void place_row(const row_place<activation>* place) noexcept { row_ = place; }

  /// The states with which the layers that carry any begin the next training passes, and where they leave the next
  /// ones; must outlive those passes. Null, as at first: they begin with zeros.
  void carry(const carried_states<activation>* states) noexcept { carried_ = states; }

  /// The parameters as a pass reads them: `parameters` itself, or, where a pass computes in another type, a copy in
  /// that type, which the next call overwrites. Enqueues the conversion; passes enqueued after it read the copy. Call
  /// it again when parameters have changed: passes may keep what they have derived from them.
  [[nodiscard]] const activation* load(const value* parameters) {
    if constexpr (requires { context_.loaded(); }) context_.loaded();
    if constexpr (!converts_values<B>) {
      return parameters;
    } else {
      [[maybe_unused]] const auto entered = context_.enter();
      B::convert(context_, plan.value_count, parameters, converted_.data());
      return converted_.data();
    }
  }

  /// The samples of a leaf at their place: `x` and `targets` are the leaf's own, the first sample has index
  /// `first_sample` in the batch, and index `first_kept` among the `shard` samples that the replica keeps memory for.
  /// `Targets` is a pointer, or the target_pack of several losses.
  template <class Targets>
  struct leaf_samples {
    samples_type x;
    Targets targets;
    std::int64_t samples;
    std::int64_t first_sample;
    std::int64_t first_kept;
    std::int64_t shard;
  };
  using leaf_statistics = detail::leaf_statistics;
  using batch_statistics = detail::batch_statistics<value>;

  /// Number of segments of a training pass: one more than there are places where it waits for statistics of the batch.
  static constexpr int segments = plan.segments;

  /// Runs forward, loss and backward of `samples` samples; the first has index `first_sample` in the batch. Adds the
  /// samples' losses to *sum. Writes the gradients of the `trainable_count` parameters that learn (adds them, when
  /// `accumulate`), times now->scale: 1 / the global denominator. With no samples it clears the gradients unless
  /// `accumulate`. `parameters` must come from `load`. Of several losses, each has its own element of `now` and `sum`.
  template <class Targets, pass_observer Observer>
  void train(const activation* parameters, value* gradients, const samples_type& x, Targets targets,
             std::int64_t samples, const step_values* now, std::int64_t first_sample, double* sum, bool accumulate,
             Observer&& observer)
    requires(segments == 1)
  {
    backward_segment(0, parameters, gradients, leaf_samples<Targets>{x, targets, samples, first_sample, 0, 0}, now, sum,
                     accumulate, nullptr, nullptr, observer);
  }

  /// Before a pass of several segments: makes room for what is kept of `shard` samples.
  void keep(std::int64_t shard) {
    const std::int64_t size = checked_multiply(shard, plan.kept_size);
    if (kept_.size() >= size) return;
    B::forget(context_);
    kept_ = {};
    kept_ = B::template allocate<activation>(context_, size);
  }

  /// Runs the forward pass of a segment, but the last. `measured` takes the leaf's statistics.
  template <class Targets, pass_observer Observer>
  void forward_segment(int segment, const activation* parameters, const leaf_samples<Targets>& leaf,
                       const step_values* now, leaf_statistics* measured, const batch_statistics* batch,
                       Observer&& observer) {
    [[maybe_unused]] const auto entered = context_.enter();
    each_part(leaf, now, measured, batch,
              [&](const pass& through, pipeline& p, const samples_type& in, const memory& own) {
                observer.micro_shard(false);
                p.forward(segment, context_, through, parameters, in, own, observer);
              });
  }

  /// Runs the backward pass of a segment; in the last one also, first, forward and loss. Arguments as above.
  template <class Targets, pass_observer Observer>
  void backward_segment(int segment, const activation* parameters, value* gradients, const leaf_samples<Targets>& leaf,
                        const step_values* now, double* sum, bool accumulate, leaf_statistics* measured,
                        const batch_statistics* batch, Observer&& observer) {
    if (leaf.samples == 0) {
      const auto [first, last] = detail::learning_ranges<Model, B>[static_cast<std::size_t>(segment)];
      if (!accumulate) B::clear(context_, last - first, gradients + first);
      return;
    }
    [[maybe_unused]] const auto entered = context_.enter();
    each_part(
        leaf, now, measured, batch, [&](const pass& through, pipeline& p, const samples_type& in, const memory& own) {
          const std::int64_t first = through.key.first_sample - leaf.first_sample;
          observer.micro_shard(first + p.samples() == leaf.samples);
          if (segment + 1 == segments) {
            p.forward(segment, context_, through, parameters, in, own, observer);
            observer.begin(pass_part::loss, -1);
            run_loss(p, in, own, leaf.targets + first * loss_type::target_size(plan.output), now, sum);
            observer.end(pass_part::loss, -1);
          }
          p.backward(segment, context_, through, parameters, in, own, gradients, accumulate || first > 0, observer);
        });
  }

  /// The same for all samples of a batch, without an observer; returns the sum of their losses.
  template <class Targets>
  double train(const value* parameters, value* gradients, const samples_type& x, Targets targets, std::int64_t samples,
               const step_values& now, bool accumulate = false)
    requires(B::host_memory && Model::loss_count == 1)
  {
    double sum = 0;
    train_all(parameters, gradients, x, targets, samples, &now, &sum, accumulate);
    return sum;
  }
  /// The same with several losses; returns the sums of each.
  template <class Targets>
  std::array<double, Model::loss_count> train(const value* parameters, value* gradients, const samples_type& x,
                                              Targets targets, std::int64_t samples,
                                              const std::array<step_values, Model::loss_count>& now,
                                              bool accumulate = false)
    requires(B::host_memory && Model::loss_count > 1)
  {
    std::array<double, Model::loss_count> sums{};
    train_all(parameters, gradients, x, targets, samples, now.data(), sums.data(), accumulate);
    return sums;
  }

  /// True when `train` takes `samples` samples as one micro-shard, so that `accumulate` adds complete gradients.
  [[nodiscard]] static constexpr bool in_one_piece(std::int64_t samples) {
    return samples > 0 && samples <= micro && !adds;
  }

  /// Writes the outputs of `samples` samples, in order, to `y`. `parameters` must come from `load`.
  void forward(const activation* parameters, const samples_type& x, std::int64_t samples,
               detail::output_pack<Model, value> y) {
    infer(parameters, x, samples, [&](std::int64_t first, std::int64_t count, const auto& outputs) {
      detail::each_output<Model>([&]<std::size_t K>(std::int64_t size) {
        const activation* const from = detail::array_of<K>(outputs);
        value* const to = detail::array_of<K>(y) + first * size;
        if constexpr (converts_values<B>)
          B::convert(context_, count * size, from, to);
        else
          B::copy(context_, count * size, from, to);
      });
    });
  }

  /// Runs a forward pass and calls f(first sample, count, outputs) after each micro-shard, in order; copies nothing.
  /// `outputs` is a pointer, or the output_pack of several outputs. `parameters` must come from `load`.
  template <class F>
  void infer(const activation* parameters, const samples_type& x, std::int64_t samples, const F& f) {
    [[maybe_unused]] const auto entered = context_.enter();
    each_micro_shard(samples, [&](std::int64_t first, pipeline& p) {
      const pass through{.training = false, .key = {}, .skipped = skipped_, .row = row_};
      no_observer observer;
      const memory own{.arena = reserve(p.samples() * plan.inference_arena_size)};
      const samples_type in = x + first * plan.input.size();
      p.forward(pipeline::all_segments, context_, through, parameters, in, own, observer);
      f(first, p.samples(), detail::pack_outputs<Model, const activation>([&]<std::size_t K>() {
          return p.template output<K>(false, in, own);
        }));
    });
  }

  /// n activations as values: `y` itself, or a converted copy, which the next call overwrites.
  [[nodiscard]] const value* as_values([[maybe_unused]] std::int64_t n, const activation* y) {
    if constexpr (!converts_values<B>) {
      return y;
    } else {
      [[maybe_unused]] const auto entered = context_.enter();
      if (outputs_.size() < n) outputs_ = B::template allocate<value>(context_, n);  // no recorded work reads it
      B::convert(context_, n, y, outputs_.data());
      return outputs_.data();
    }
  }

  [[nodiscard]] context_type& context() noexcept { return context_; }
  [[nodiscard]] const loss_op& loss() const noexcept { return loss_; }

 private:
  using pipeline = detail::pipeline<Model, B>;
  using memory = detail::pass_memory<B>;
  static constexpr std::int64_t micro = micro_shard<Model, B>;
  /// Some parameters have the gradients of several nodes, which are added one by one.
  static constexpr bool adds = [] {
    for (const plan_node& node : plan.nodes)
      if (node.adds_gradients) return true;
    return false;
  }();
  /// Number of batch sizes to keep ops for, where ops serve one size only. A loader produces two sizes (full and last),
  /// and uneven shards double that.
  static constexpr std::size_t max_pipelines = 8;

  template <class Targets>
  void train_all(const value* parameters, value* gradients, const samples_type& x, Targets targets,
                 std::int64_t samples, const step_values* now, double* sum, bool accumulate) {
    const activation* loaded = load(parameters);
    if constexpr (segments == 1) {
      train(loaded, gradients, x, targets, samples, now, 0, sum, accumulate, no_observer{});
    } else {
      leaf_statistics measured(plan.measured_channels);
      batch_statistics batch(plan.measured_channels);
      const leaf_samples<Targets> all{x, targets, samples, 0, 0, samples};
      const auto leaf = [&](std::size_t) -> const leaf_statistics& { return measured; };
      keep(samples);
      for (int i = 0; i < segments - 1; ++i) {
        forward_segment(i, loaded, all, now, &measured, &batch, no_observer{});
        detail::combine_moments<Model, B, 1, 1>(i, batch, leaf, leaf);
      }
      for (int i = segments - 1; i >= 0; --i) {
        backward_segment(i, loaded, gradients, all, now, sum, accumulate, &measured, &batch, no_observer{});
        if (i > 0) detail::combine_sums<Model, B, 1, 1>(i - 1, batch, leaf, leaf);
      }
    }
  }

  /// Runs each loss on its output.
  template <class Targets>
  void run_loss(pipeline& p, const samples_type& in, const memory& own, const Targets& targets, const step_values* now,
                double* sum) {
    if constexpr (Model::loss_count == 1)
      loss_.forward_backward(context_, p.samples(), plan.output, p.output(true, in, own), targets,
                             p.output_gradient(own), now, sum);
    else
      detail::static_for<Model::loss_count>([&]<std::size_t K>() {
        loss_.template forward_backward<K>(context_, p.samples(), p.template output<K>(true, in, own), targets,
                                           p.template output_gradient<K>(own), now, sum);
      });
  }

  template <class F>
  void each_micro_shard(std::int64_t samples, const F& f) {
    std::int64_t first = 0;
    if (samples >= micro) {
      pipeline& p = prepared(micro);
      for (; first + micro <= samples; first += micro) f(first, p);
    }
    if (first < samples) f(first, prepared(samples - first));
  }

  /// Calls f(pass, pipeline, the micro-shard's input, its memory) for each micro-shard of a leaf.
  template <class Targets, class F>
  void each_part(const leaf_samples<Targets>& leaf, const step_values* now, leaf_statistics* measured,
                 const batch_statistics* batch, const F& f) {
    each_micro_shard(leaf.samples, [&](std::int64_t first, pipeline& p) {
      const pass through{.training = true,
                         .key = {.now = now, .layer = 0, .first_sample = leaf.first_sample + first},
                         .skipped = skipped_,
                         .carried = carried_};
      const memory own{.arena = reserve(p.samples() * plan.arena_size),
                       .kept = kept_.data(),
                       .shard = leaf.shard,
                       .first = leaf.first_kept + first,
                       .leaf = measured,
                       .batch = batch};
      f(through, p, leaf.x + first * plan.input.size(), own);
    });
  }

  pipeline& prepared(std::int64_t samples) {
    if constexpr (pipeline::takes_fewer)
      return prepared_for_most(samples);
    else
      return prepared_for(samples);
  }

  /// The only pipeline, set to `samples`; a larger one replaces it when it was made for fewer.
  pipeline& prepared_for_most(std::int64_t samples) {
    if (pipelines_.empty() || pipelines_.front()->most() < samples) grow(samples);
    pipelines_.front()->set_samples(samples);
    return *pipelines_.front();
  }

  /// Makes the only pipeline, in place of one that was made for fewer samples.
  [[gnu::cold]] void grow(std::int64_t samples) {
    // At least doubles, so that a batch size that grows from step to step does not prepare ops in every step.
    const std::int64_t most = pipelines_.empty() ? samples : std::clamp(2 * pipelines_.front()->most(), samples, micro);
    auto larger = std::make_unique<pipeline>(context_, most);
    if (!pipelines_.empty()) {
      B::forget(context_);
      pipelines_.clear();
    }
    pipelines_.push_back(std::move(larger));
  }

  /// The pipeline for exactly `samples` samples; makes it when there is none.
  pipeline& prepared_for(std::int64_t samples) {
    for (std::size_t i = 0; i < pipelines_.size(); ++i)
      if (pipelines_[i]->samples() == samples) {
        // The most recently used goes first, so that the last is the one to drop.
        std::rotate(pipelines_.begin(), pipelines_.begin() + static_cast<std::ptrdiff_t>(i),
                    pipelines_.begin() + static_cast<std::ptrdiff_t>(i + 1));
        return *pipelines_.front();
      }
    auto fresh = std::make_unique<pipeline>(context_, samples);
    if (pipelines_.size() == max_pipelines) {
      B::forget(context_);
      pipelines_.pop_back();
    }
    pipelines_.insert(pipelines_.begin(), std::move(fresh));
    return *pipelines_.front();
  }

  activation* reserve(std::int64_t size) {
    if (arena_.size() < size) {
      B::forget(context_);
      arena_ = {};  // frees the old arena first: memory need not hold both
      arena_ = B::template allocate<activation>(context_, size);
    }
    return arena_.data();
  }

  context_type context_;
  loss_op loss_;
  std::vector<std::unique_ptr<pipeline>> pipelines_;
  typename B::template buffer<activation> arena_;
  typename B::template buffer<activation> kept_;       ///< what a pass of several segments keeps of all samples
  typename B::template buffer<activation> converted_;  ///< the copy that `load` makes
  typename B::template buffer<value> outputs_;
  const bool* skipped_ = nullptr;
  const row_place<activation>* row_ = nullptr;
  const carried_states<activation>* carried_ = nullptr;
  static_assert(detail::check_primitives<Model, B>());
};

}  // namespace lockstep
