// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <utility>

#include <lockstep/core/error.hpp>
#include <lockstep/core/static_for.hpp>
#include <lockstep/model/batch_statistics.hpp>
#include <lockstep/model/model.hpp>

/// \file
/// What happens between the segments of a pass: statistics of all leaves are combined.

namespace lockstep::detail {

/// The learning parameters of a segment's nodes: elements [first, second) of the flat range.
template <class Model, class B>
[[nodiscard]] constexpr std::pair<std::int64_t, std::int64_t> learning_range(int segment) {
  constexpr const auto& plan = Model::template plan<B>;
  std::int64_t first = 0;
  std::int64_t last = 0;
  for (int i = 0; i < plan.node_count; ++i) {
    const plan_node& node = plan.node(i);
    if (!node.owns_learning() || node.segment > segment) continue;
    last = node.parameter_offset + node.parameter_size;
    if (node.segment < segment) first = last;
  }
  return {first, last};
}

/// True when tied layers of different segments learn: their gradients come together only after both segments.
template <class Model, class B>
[[nodiscard]] constexpr bool ties_segments() {
  constexpr const auto& plan = Model::template plan<B>;
  for (int i = 0; i < plan.node_count; ++i)
    for (int k = 0; k < i; ++k)
      if (plan.node(i).shares && plan.node(i).learns() && plan.node(k).learns() &&
          plan.node(k).parameter_offset == plan.node(i).parameter_offset &&
          plan.node(k).segment != plan.node(i).segment)
        return true;
  return false;
}

/// Where the buffers of the layer lie whose channels begin at `statistics`, counted from the first buffer.
template <class Model, class B>
[[nodiscard]] constexpr std::int64_t buffers_of(std::int64_t statistics) {
  constexpr const auto& plan = Model::template plan<B>;
  for (int i = 0; i < plan.node_count; ++i)
    if (const plan_node& node = plan.node(i); node.kind == node_kind::measure && node.statistics == statistics)
      return plan.node(node.partner).buffer_offset - plan.parameter_count;
  return -1;
}

/// Calls f(layer's type, first channel, channels) for each layer that is measured in a segment.
template <class Model, class B, int Segment, class F>
void each_measured(const F& f) {
  static constexpr const auto& plan = Model::template plan<B>;
  static_for<static_cast<std::size_t>(plan.node_count)>([&]<std::size_t Index>() {
    constexpr const plan_node& node = plan.nodes[Index];
    if constexpr (node.kind == node_kind::measure && node.segment == Segment)
      f.template operator()<typename Model::template leaf<static_cast<std::size_t>(node.leaf)>>(node.statistics,
                                                                                                node.in[0]);
  });
}

/// Number of channels that are measured over the whole batch, and not by each replica for itself.
template <class Model, class B>
[[nodiscard]] std::int64_t exchanged_channels() {
  static constexpr const auto& plan = Model::template plan<B>;
  std::int64_t all = 0;
  [&]<int... Segment>(std::integer_sequence<int, Segment...>) {
    (each_measured<Model, B, Segment>([&]<class Layer>(std::int64_t, std::int64_t channels) {
       if (!Layer::options.local) all += channels;
     }),
     ...);
  }(std::make_integer_sequence<int, plan.segments>{});
  return all;
}

/// After the forward pass of a segment: combines what `All` leaves have measured in it, or, in a layer of local
/// statistics, the `Own` leaves of the replica. `leaf(k)` is leaf k, `own(k)` leaf k of the replica.
template <class Model, class B, int Segment, std::size_t All, std::size_t Own, class Batch, class Leaf, class OwnLeaf>
void combine_moments(Batch& batch, const Leaf& leaf, const OwnLeaf& own) {
  each_measured<Model, B, Segment>([&]<class Layer>(std::int64_t first, std::int64_t channels) {
    if constexpr (Layer::options.local)
      batch.template combine_moments<Own>(first, channels, Layer::options.epsilon_value, own);
    else
      batch.template combine_moments<All>(first, channels, Layer::options.epsilon_value, leaf);
  });
}

/// Before the backward pass of a segment: combines the sums that the layers which were measured in it have taken.
template <class Model, class B, int Segment, std::size_t All, std::size_t Own, class Batch, class Leaf, class OwnLeaf>
void combine_sums(Batch& batch, const Leaf& leaf, const OwnLeaf& own) {
  each_measured<Model, B, Segment>([&]<class Layer>(std::int64_t first, std::int64_t channels) {
    if constexpr (Layer::options.local)
      batch.template combine_sums<Own>(first, channels, own);
    else
      batch.template combine_sums<All>(first, channels, leaf);
  });
}

/// Throws value_error when a layer would measure a single value for each channel of `samples` samples: of a batch, or,
/// for layers of `local` statistics, of a replica's shard.
template <class Model, class B>
void check_values_per_channel(std::int64_t samples, bool local) {
  static constexpr const auto& plan = Model::template plan<B>;
  [&]<int... Segment>(std::integer_sequence<int, Segment...>) {
    (each_measured<Model, B, Segment>([&]<class Layer>(std::int64_t first, std::int64_t channels) {
       for (const plan_node& node : plan.nodes) {
         if (node.kind != node_kind::measure || node.statistics != first) continue;
         if (Layer::options.local != local || samples * (node.in.size() / channels) > 1) continue;
         const std::string_view path = Model::paths[static_cast<std::size_t>(node.leaf)].view();
         throw value_error(
             std::string(Layer::kind).append(path.empty() ? "" : " '").append(path).append(path.empty() ? "" : "'"),
             Layer::options.local ? "more than one value for each channel on every replica when training"
                                  : "more than one value for each channel when training",
             (local ? "one, in a shard of " : "one, in a batch of ") + std::to_string(samples) +
                 (samples == 1 ? " sample" : " samples"),
             "make batches larger, and drop a last one that is short");
       }
     }),
     ...);
  }(std::make_integer_sequence<int, plan.segments>{});
}

/// Computes the buffers after a batch from those before it: running means and variances, and the number of batches.
/// `before` and `after` point at the first buffer of the flat range, and may be equal.
template <class Model, class B, class Batch, class Value>
void update_buffers(const Batch& batch, const Value* before, Value* after) {
  static constexpr const auto& plan = Model::template plan<B>;
  [&]<int... Segment>(std::integer_sequence<int, Segment...>) {
    (each_measured<Model, B, Segment>([&]<class Layer>(std::int64_t first, std::int64_t channels) {
       if (batch.forward[static_cast<std::size_t>(first)].count == 0) return;
       const std::int64_t at = buffers_of<Model, B>(first);
       const double batches = static_cast<double>(before[at + 2 * channels]) + 1;
       const double weight = Layer::options.cumulative_average ? 1 / batches : Layer::options.momentum_value;
       const auto running = [&](std::int64_t i, double now) {
         after[i] = static_cast<Value>((1 - weight) * static_cast<double>(before[i]) + weight * now);
       };
       for (std::int64_t c = 0; c < channels; ++c) {
         const moments& of = batch.forward[static_cast<std::size_t>(first + c)];
         running(at + c, of.mean);
         running(at + channels + c, of.count > 1 ? of.squares / (of.count - 1) : of.squares);
       }
       after[at + 2 * channels] = static_cast<Value>(batches);
     }),
     ...);
  }(std::make_integer_sequence<int, plan.segments>{});
}

}  // namespace lockstep::detail
