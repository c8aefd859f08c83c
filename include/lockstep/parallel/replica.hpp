// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include <lockstep/core/random.hpp>
#include <lockstep/core/tensor.hpp>
#include <lockstep/model/executor.hpp>
#include <lockstep/model/observer.hpp>
#include <lockstep/parallel/gradient_tree.hpp>
#include <lockstep/parallel/shard.hpp>
#include <lockstep/parallel/timeline.hpp>
#include <lockstep/parallel/trainer_options.hpp>

namespace lockstep::detail {

/// Where a replica is, for others to read while it works.
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

/// `backward of conv2`: what a replica does, in words. Layers without a name go by their position.
template <class Model, class B>
[[nodiscard]] std::string doing(activity what, int node) {
  constexpr std::array<std::string_view, 7> names{"forward", "the loss",      "backward",  "adding up gradients",
                                                  "waiting", "communicating", "the update"};
  std::string text(names[static_cast<std::size_t>(what)]);
  if (node < 0) return text;
  const int leaf = Model::template plan<B>.nodes[static_cast<std::size_t>(node)].leaf;
  return text.append(" of ").append(leaf < 0 ? "a change of order"
                                             : Model::paths[static_cast<std::size_t>(leaf)].view());
}

/// One track of a timeline, or nothing: measures a span at the cost of a branch when nothing is recorded.
struct track {
  timeline* record = nullptr;
  int index = 0;
  std::int32_t step = 0;

  [[nodiscard]] std::int64_t now() const noexcept { return record == nullptr ? 0 : timeline::now(); }
  void span(std::int64_t begin, activity what, int of = -1) const noexcept {
    if (record != nullptr) record->record(index, {begin, timeline::now(), step, static_cast<std::int16_t>(of), what});
  }
};

/// Follows a replica through its pass: writes down where it is, records spans, and says when gradients are complete.
template <class OnComplete>
class replica_observer {
 public:
  /// `on_complete(node)` is called after the last backward of a node in the pass, when `closing`.
  replica_observer(replica_position& position, const track& spans, bool closing, const OnComplete& on_complete)
      : position_(position), spans_(spans), closing_(closing), on_complete_(on_complete) {}

  void micro_shard(bool last) noexcept { last_ = closing_ && last; }
  void begin(pass_part part, int node) noexcept {
    position_.set(activity_of(part), node);
    begin_ = spans_.now();
  }
  void end(pass_part part, int node) noexcept {
    spans_.span(begin_, activity_of(part), node);
    if (last_ && part == pass_part::backward) on_complete_(node);
  }

 private:
  static constexpr activity activity_of(pass_part part) {
    return part == pass_part::forward ? activity::forward
           : part == pass_part::loss  ? activity::loss
                                      : activity::backward;
  }

  replica_position& position_;
  const track& spans_;
  bool closing_;
  bool last_ = false;
  std::int64_t begin_ = 0;
  const OnComplete& on_complete_;
};

/// A batch on its way through the replicas: what all of them read.
template <class Value, class Loss, class Target>
struct batch_pass {
  const Loss& loss;
  const Value* parameters;
  const Value* images;
  const Target* targets;
  std::int64_t samples;
  double scale;     ///< 1 / the global denominator
  dropout_key key;  ///< with the global index of the first sample
};

/// One replica: its executor, its gradients, and the leaves of the sum over a batch that it computes.
template <class Model, class B, int Leaves>
class replica {
  static constexpr const auto& plan = Model::template plan<B>;

 public:
  using value = typename B::value_type;

  explicit replica(int threads) : executor(threads), gradients(plan.trainable_count), tree_(plan.trainable_count) {}

  /// Forward, loss and backward of the leaves first .. first + Leaves - 1 of `all`. Leaves the sum of their gradients
  /// in `gradients`, and the sums of their losses in losses[leaf]. `on_complete(node, complete_from)` is called, in
  /// backward order, when the gradients of a node are complete but for what complete_from(first element) does.
  template <class Batch, std::size_t Count, class OnComplete>
  void train(const Batch& batch, int first, int all, std::array<double, Count>& losses, const track& spans,
             const OnComplete& on_complete) {
    const auto add = [&](std::int64_t count, const value* from, value* to) {
      position.set(activity::fold);
      const std::int64_t begin = spans.now();
      B::add(executor.context(), count, from, to);
      spans.span(begin, activity::fold);
    };
    const auto completed = [&](int node) {
      on_complete(node, [&](std::int64_t from) { tree_.complete_from(from, add); });
    };
    const auto part_of = [&](int i) { return shard_of(batch.samples, all, first + i); };
    tree_.sum(
        gradients.data(),
        [&](int i, value* to, bool accumulate) {
          const shard_range part = part_of(i);
          dropout_key key = batch.key;
          key.first_sample += part.first;
          replica_observer observer(position, spans, i == Leaves - 1, completed);
          losses[static_cast<std::size_t>(first + i)] =
              executor.train(batch.loss, batch.parameters, to, batch.images + part.first * plan.input.size(),
                             batch.targets + part.first * batch.loss.target_size(plan.output), part.count, key,
                             batch.scale, accumulate, observer);
        },
        [&](int i) { return executor.in_one_piece(part_of(i).count); }, add);
  }

  lockstep::executor<Model, B> executor;
  aligned_buffer<value> gradients;
  replica_position position;

 private:
  gradient_tree<value, Leaves> tree_;
};

/// Names in `report` the first replica that does not wait, and what it does.
template <class Model, class B, class Replicas>
void locate(const Replicas& replicas, stall_report& report) {
  for (std::size_t r = 0; r < replicas.size(); ++r) {
    const activity what = replicas[r]->position.what();
    if (what == activity::wait) continue;
    report.replica = static_cast<int>(r);
    report.doing = doing<Model, B>(what, replicas[r]->position.node());
    return;
  }
}

}  // namespace lockstep::detail
