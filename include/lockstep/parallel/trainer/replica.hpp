// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <algorithm>
#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <type_traits>
#include <vector>

#include <lockstep/backend/replica_place.hpp>
#include <lockstep/backend/step_values.hpp>
#include <lockstep/core/shard.hpp>
#include <lockstep/core/static_for.hpp>
#include <lockstep/model/batch_statistics.hpp>
#include <lockstep/model/executor.hpp>
#include <lockstep/model/input_pack.hpp>
#include <lockstep/model/observer.hpp>
#include <lockstep/model/output_pack.hpp>
#include <lockstep/model/segments.hpp>
#include <lockstep/nn/loss/members.hpp>
#include <lockstep/parallel/evaluation.hpp>
#include <lockstep/parallel/timeline.hpp>
#include <lockstep/parallel/trainer/batch_pass.hpp>
#include <lockstep/parallel/trainer/gradient_tree.hpp>
#include <lockstep/parallel/trainer/naming.hpp>
#include <lockstep/parallel/trainer/profiler_ranges.hpp>
#include <lockstep/parallel/trainer/shard_stage.hpp>
#include <lockstep/parallel/trainer_options.hpp>

namespace lockstep::detail {

/// Where a replica is in its pass. Other threads read it while the replica works.
class replica_position {
 public:
  /// `node` is an index of the plan's nodes, -1 for none.
  void set(activity what, int node = -1) noexcept {
    now_.store((static_cast<std::uint32_t>(what) << 24U) | static_cast<std::uint32_t>(node + 1),
               std::memory_order_relaxed);
  }
  [[nodiscard]] activity what() const noexcept {
    return static_cast<activity>(now_.load(std::memory_order_relaxed) >> 24U);
  }
  [[nodiscard]] int node() const noexcept {
    return static_cast<int>(now_.load(std::memory_order_relaxed) & 0xFFFFFFU) - 1;
  }

 private:
  alignas(64) std::atomic<std::uint32_t> now_{static_cast<std::uint32_t>(activity::wait) << 24U};
};

/// One track of a timeline. Without a timeline, a span costs a branch.
struct track {
  timeline* record = nullptr;
  int index = 0;
  std::int32_t step = 0;

  [[nodiscard]] std::int64_t now() const noexcept { return record == nullptr ? 0 : timeline::now(); }
  void span(std::int64_t begin, activity what, int of = -1) const noexcept {
    if (record != nullptr) record->record(index, {begin, timeline::now(), step, static_cast<std::int16_t>(of), what});
  }
};

/// Follows a replica through its pass: notes where the replica is, records spans, shows ranges to a profiler, and tells
/// when the gradients of a node are complete.
template <class Model, class B, class OnComplete>
class replica_observer {
 public:
  /// `on_complete(node)` is called after the last backward of a node in the pass, when `closing`.
  replica_observer(typename B::context& context, replica_position& position, const track& spans, bool closing,
                   const OnComplete& on_complete)
      : context_(context), position_(position), spans_(spans), closing_(closing), on_complete_(on_complete) {}

  void micro_shard(bool last) noexcept { last_ = closing_ && last; }
  void begin(pass_part part, int node) noexcept {
    position_.set(activity_of(part), node);
    if constexpr (shows_ranges<B>) range_.begin(label_of<Model, B>(activity_of(part), node).c_str());
    begin_ = spans_.now();
  }
  void end(pass_part part, int node) {
    // A span shows how long the work takes, not how long it takes to enqueue it.
    if constexpr (!B::host_memory)
      if (spans_.record != nullptr) B::finish(context_);
    spans_.span(begin_, activity_of(part), node);
    range_.end();
    if (last_ && part == pass_part::backward) on_complete_(node);
  }

 private:
  static constexpr activity activity_of(pass_part part) {
    return part == pass_part::forward ? activity::forward
           : part == pass_part::loss  ? activity::loss
                                      : activity::backward;
  }

  typename B::context& context_;
  replica_position& position_;
  const track& spans_;
  bool closing_;
  bool last_ = false;
  std::int64_t begin_ = 0;
  [[no_unique_address]] shown_range<B> range_;
  const OnComplete& on_complete_;
};

/// A scope that makes a context's device current: a thread holds it while it gives work to the context outside of the
/// context's executor. On the host it does nothing.
template <class B>
[[nodiscard]] auto device_of([[maybe_unused]] typename B::context& c) {
  if constexpr (B::host_memory)
    return 0;
  else
    return c.enter();
}

/// One replica: its executor, its gradients, and the `Leaves` leaves of the sum over a batch that it computes.
template <class Model, class B, int Leaves>
class replica {
  static constexpr const auto& plan = Model::template plan<B>;
  static constexpr std::size_t losses_of_leaf = Model::loss_count;
  static constexpr std::size_t sum_count = Leaves * losses_of_leaf;

 public:
  using value = typename B::value_type;
  using activation = typename B::activation_type;
  using context_type = typename B::context;
  using fence = typename B::fence;
  using loss_type = typename Model::loss_type;
  using images_type = input_pack<Model, const value>;

  replica(const replica_place& place, const loss_type& loss)
      : executor(place, loss),
        gradients(B::template allocate<value>(context(), plan.trainable_count)),
        done{fence(context()), fence(context())},
        tree_(context(), plan.trainable_count),
        losses_(context()),
        stage_(context()) {
    if constexpr (segments > 1) {
      for (int i = 0; i < Leaves; ++i) leaves_.emplace_back(plan.measured_channels);
      batch_.emplace_back(plan.measured_channels);
    }
  }

  [[nodiscard]] context_type& context() noexcept { return executor.context(); }

  /// The samples, of `samples` in all, that belong to the leaves first .. first + Leaves - 1 of `all`.
  [[nodiscard]] static shard_range range(std::int64_t samples, int first, int all) {
    const std::int64_t begin = shard_of(samples, all, first).first;
    const shard_range last = shard_of(samples, all, first + Leaves - 1);
    return {.first = begin, .count = last.first + last.count - begin};
  }

  /// Before `train`: takes over the replica's shard of the batch. Returns a number that depends on where the work will
  /// read the shard.
  template <class Pass>
  std::uint64_t prepare(const Pass& batch, int first, int all) {
    const shard_range own = range(batch.samples, first, all);
    const std::int64_t target_size = loss_type::target_size(plan.output);
    packed_parts places;
    if constexpr (!B::host_memory) {
      // By the largest shard, so that all replicas decide alike: collectives require that all record in the same step.
      std::int64_t largest = 0;
      for (int leaf = 0; leaf < all; leaf += Leaves)
        largest = (std::max)(largest, range(batch.samples, leaf, all).count);
      places = stage_.places(batch.images, largest * plan.input.size(), batch.targets, largest * target_size);
    }
    return stage_.prepare(context(), batch.now, places, part(batch.images, own, plan.input.size()),
                          own.count * plan.input.size(), part(batch.targets, own, target_size),
                          own.count * target_size);
  }

  /// Writes the outputs for the samples `own` of a batch to their place in `out`. Both lie in the host's memory.
  void forward(const value* parameters, const images_type& images, const shard_range& own,
               const output_pack<Model, value>& out) {
    [[maybe_unused]] const auto device = device_of<B>(context());
    const images_type x =
        stage_.bring_images(context(), part(images, own, plan.input.size()), own.count * plan.input.size());
    executor.infer(executor.load(parameters), x, own.count,
                   [&](std::int64_t first, std::int64_t count, const auto& outputs) {
                     each_output<Model>([&]<std::size_t K>(std::int64_t size) {
                       B::copy_out(context(), count * size, executor.as_values(count * size, array_of<K>(outputs)),
                                   array_of<K>(out) + (own.first + first) * size);
                     });
                   });
    B::finish(context());
  }

  /// Loss and hits of the samples `own` of a batch in the host's memory. The caller adds the denominator.
  template <class Targets>
  [[nodiscard]] evaluation_of<Model> evaluate(const value* parameters, const loss_type& loss, const images_type& images,
                                              const Targets& targets, const shard_range& own) {
    [[maybe_unused]] const auto device = device_of<B>(context());
    evaluation_of<Model> result;
    double* sums = losses_.get()->data();
    B::clear(context(), losses_of_leaf, sums);
    const std::int64_t target_size = loss_type::target_size(plan.output);
    const images_type x =
        stage_.bring_images(context(), part(images, own, plan.input.size()), own.count * plan.input.size());
    const Targets own_targets =
        stage_.bring_targets(context(), part(targets, own, target_size), own.count * target_size);
    const activation* loaded = executor.load(parameters);
    executor.infer(loaded, x, own.count, [&](std::int64_t first, std::int64_t count, const auto& outputs) {
      const Targets there = own_targets + first * target_size;
      const Targets here = targets + (own.first + first) * target_size;
      if constexpr (losses_of_leaf == 1) {
        executor.loss().forward_backward(context(), count, plan.output, outputs, there, nullptr, nullptr, sums);
        const value* y = host_values(count * plan.output.size(), outputs);
        result.correct += hits_of(loss, count, plan.output, y, here);
        result.counted += counted_by(loss, count, plan.output, here);
      } else {
        static_for<losses_of_leaf>([&]<std::size_t K>() {
          constexpr const dims& extents = Model::output_extents[K];
          executor.loss().template forward_backward<K>(context(), count, array_of<K>(outputs), there, nullptr, nullptr,
                                                       sums);
          const value* y = host_values(count * extents.size(), array_of<K>(outputs));
          result.parts[K].correct += hits_of(loss.template of<K>(), count, extents, y, here.template get<K>());
          result.parts[K].counted += counted_by(loss.template of<K>(), count, extents, here.template get<K>());
        });
      }
    });
    losses_.fetch(context());
    B::finish(context());
    set_loss_sums(result, losses_.host().data());
    return result;
  }

  /// Tells that all work that reads what `prepare` took over is done.
  void finished() { stage_.finished(); }

  /// Number of segments of a pass. Between two segments all replicas meet and combine what their leaves have measured.
  static constexpr int segments = lockstep::executor<Model, B>::segments;

  /// A pass over the leaves first .. first + Leaves - 1 of `all`: what its parts have in common.
  struct training_pass {
    const activation* loaded;
    std::int64_t samples;
    int first;
    int all;
    double* losses;
  };
  /// Begins a pass: sends what `prepare` took over.
  [[nodiscard]] training_pass begin(const value* parameters, std::int64_t samples, int first, int all,
                                    const track& spans) {
    stage_.send(context());
    if constexpr (B::host_memory) {
      sums_ = losses_.get();
      B::clear(context(), sum_count, sums_->data());
    } else {
      sums_ = stage_.sums();
    }
    const activation* const loaded = executor.load(parameters);
    // Without this, the conversion would be part of the first layer's span.
    if constexpr (converts_values<B> && !B::host_memory)
      if (spans.record != nullptr) B::finish(context());
    if constexpr (segments > 1) {
      executor.keep(range(samples, first, all).count);
      for (leaf_statistics& leaf : leaves_) leaf.clear();
    }
    return {.loaded = loaded, .samples = samples, .first = first, .all = all, .losses = sums_->data()};
  }

  /// Runs the forward pass of a segment, but the last.
  void forward_segment(int segment, const training_pass& pass, const track& spans) {
    const auto ignored = [](int) {};
    for (int i = 0; i < Leaves; ++i)
      executor.forward_segment(
          segment, pass.loaded, leaf_of(pass, i), stage_.now(), statistics_of(i), &batch_.front(),
          replica_observer<Model, B, decltype(ignored)>(context(), position, spans, false, ignored));
  }

  /// Runs the backward pass of a segment, in the last one after forward and loss. Leaves the sum of the leaves'
  /// gradients of the segment in `gradients`. Calls `on_complete` as `train` does.
  template <class OnComplete>
  void backward_segment(int segment, const training_pass& pass, const track& spans, const OnComplete& on_complete) {
    const auto add = [&](std::int64_t count, const value* from, value* to) {
      position.set(activity::fold);
      const std::int64_t begin = spans.now();
      B::add(context(), count, from, to);
      spans.span(begin, activity::fold);
    };
    const auto completed = [&](int node) {
      on_complete(node, [&](std::int64_t from) { tree_.complete_from(from, add); });
    };
    const auto learning = learning_ranges<Model, B>[static_cast<std::size_t>(segment)];
    tree_.sum(
        context(), learning.first, learning.second, gradients.data(),
        [&](int i, value* to, bool accumulate) {
          executor.backward_segment(
              segment, pass.loaded, to, leaf_of(pass, i), stage_.now(),
              pass.losses + static_cast<std::size_t>(i) * losses_of_leaf, accumulate, statistics_of(i),
              segments > 1 ? &batch_.front() : nullptr,
              replica_observer<Model, B, decltype(completed)>(context(), position, spans, i == Leaves - 1, completed));
        },
        [&](int i) { return executor.in_one_piece(shard_of(pass.samples, pass.all, pass.first + i).count); }, add);
  }

  /// Ends a pass.
  void end() {
    if constexpr (!B::host_memory) losses_.fetch_from(context(), sums_);
  }

  /// Runs forward, loss and backward of the leaves first .. first + Leaves - 1 of `all`. Leaves the sum of their
  /// gradients in `gradients`, and the sum of each leaf's losses in `losses()`. Calls `on_complete(node,
  /// complete_from)`, in backward order, when backward has computed the last gradients of a node; complete_from(first
  /// element) then adds up those from that element on.
  template <class OnComplete>
  void train(const value* parameters, std::int64_t samples, int first, int all, const track& spans,
             const OnComplete& on_complete)
    requires(segments == 1)
  {
    backward_segment(0, begin(parameters, samples, first, all, spans), spans, on_complete);
    end();
  }

  /// What leaf i has measured in a pass of several segments, and what this replica normalises with.
  [[nodiscard]] const leaf_statistics& measured(std::size_t i) const { return leaves_[i]; }
  [[nodiscard]] batch_statistics<value>& batch() { return batch_.front(); }

  /// The sum of the losses of each leaf, once the work of `train` is done. Of several losses, a leaf has several sums.
  [[nodiscard]] const std::array<double, sum_count>& losses() noexcept { return losses_.host(); }

  lockstep::executor<Model, B> executor;
  typename B::template buffer<value> gradients;
  replica_position position;
  std::array<fence, 2> done;  ///< recorded after the work that others wait for; meetings take them in turn
  std::uint64_t meetings = 0;

 private:
  /// Where the samples `own` of a batch begin; a sample has `size` elements.
  template <class Elements>
  static Elements part(const Elements& all, const shard_range& own, std::int64_t size) {
    return own.count == 0 ? all : all + own.first * size;
  }

  /// n outputs in the host's memory, until the next call.
  const value* host_values(std::int64_t n, const activation* y) {
    const value* outputs = executor.as_values(n, y);
    if constexpr (!B::host_memory) {
      outputs_.resize(static_cast<std::size_t>(n));
      B::copy_out(context(), n, outputs, outputs_.data());
      B::finish(context());
      outputs = outputs_.data();
    }
    return outputs;
  }

  /// Leaf i of a pass, at its place in the replica's shard.
  [[nodiscard]] auto leaf_of(const training_pass& pass, int i) {
    const shard_range leaf = shard_of(pass.samples, pass.all, pass.first + i);
    const std::int64_t offset = leaf.first - shard_of(pass.samples, pass.all, pass.first).first;
    return typename lockstep::executor<Model, B>::template leaf_samples<targets_type>{
        .x = stage_.images() + offset * plan.input.size(),
        .targets = stage_.targets() + offset * loss_type::target_size(plan.output),
        .samples = leaf.count,
        .first_sample = leaf.first,
        .first_kept = offset,
        .shard = segments > 1 ? range(pass.samples, pass.first, pass.all).count : 0};
  }
  [[nodiscard]] leaf_statistics* statistics_of([[maybe_unused]] int i) {
    if constexpr (segments > 1)
      return &leaves_[static_cast<std::size_t>(i)];
    else
      return nullptr;
  }

  using targets_type = typename target_of<loss_type, value>::pointer;
  using loss_sums = std::array<double, sum_count>;

  gradient_tree<B, Leaves> tree_;
  typename B::template mirrored<loss_sums> losses_;
  shard_stage<B, images_type, targets_type, losses_of_leaf, sum_count> stage_;
  loss_sums* sums_ = nullptr;  ///< where a pass adds up losses
  std::vector<leaf_statistics> leaves_;
  std::vector<batch_statistics<value>> batch_;  ///< one, in a model that measures batches
  std::vector<value> outputs_;                  ///< an evaluation's outputs, copied to the host
};

}  // namespace lockstep::detail
