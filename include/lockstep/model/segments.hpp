// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <utility>

#include <lockstep/core/error.hpp>
#include <lockstep/model/batch_statistics.hpp>
#include <lockstep/model/lowering.hpp>
#include <lockstep/model/model.hpp>

/// \file
/// What happens between the segments of a pass: statistics of all leaves are combined.

namespace lockstep::detail {

/// The learning parameters of each segment's nodes: elements [first, second) of the flat range.
template <class Model, class B>
inline constexpr auto learning_ranges = [] {
  constexpr const auto& plan = Model::template plan<B>;
  std::array<std::pair<std::int64_t, std::int64_t>, static_cast<std::size_t>(plan.segments)> ranges{};
  for (int segment = 0; segment < plan.segments; ++segment) {
    std::int64_t first = 0;
    std::int64_t last = 0;
    for (int i = 0; i < plan.node_count; ++i) {
      const plan_node& node = plan.node(i);
      if (!node.owns_learning() || node.segment > segment) continue;
      last = node.parameter_offset + node.parameter_size;
      if (node.segment < segment) first = last;
    }
    ranges[static_cast<std::size_t>(segment)] = {first, last};
  }
  return ranges;
}();

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

/// A layer that measures the batch: the node that measures for it, and its options.
struct measured_layer {
  std::string_view kind;
  bool local = false;  ///< each replica measures its own shard
  bool cumulative_average = false;
  double momentum = 0;
  double epsilon = 0;
  int leaf = 0;
  int segment = 0;
  std::int64_t first = 0;  ///< of its channels
  std::int64_t channels = 0;
  std::int64_t pixels = 0;   ///< of a sample
  std::int64_t buffers = 0;  ///< where they lie, counted from the first buffer
};

/// What a layer's type says of it, where it measures the batch.
template <class Layer>
[[nodiscard]] constexpr measured_layer measuring() {
  if constexpr (measures_batch<Layer> > 0)
    return {.kind = Layer::kind,
            .local = Layer::options.local,
            .cumulative_average = Layer::options.cumulative_average,
            .momentum = Layer::options.momentum_value,
            .epsilon = Layer::options.epsilon_value};
  else
    return {};
}

/// The layers that measure the batch, in the order of execution, by segment.
template <class Model, class B>
inline constexpr auto measured_layers = [] {
  constexpr const auto& plan = Model::template plan<B>;
  std::array<measured_layer, static_cast<std::size_t>(plan.measured_layers)> all{};
  if constexpr (plan.measured_layers > 0) {
    const auto of_leaf = []<std::size_t... Leaf>(std::index_sequence<Leaf...>) {
      return std::array{measuring<typename Model::template leaf<Leaf>>()...};
    }(std::make_index_sequence<Model::leaf_count>{});
    std::size_t count = 0;
    for (int i = 0; i < plan.node_count; ++i) {
      const plan_node& node = plan.node(i);
      if (node.kind != node_kind::measure) continue;
      measured_layer& layer = all[count++];
      layer = of_leaf[static_cast<std::size_t>(node.leaf)];
      layer.leaf = node.leaf;
      layer.segment = node.segment;
      layer.first = node.statistics;
      layer.channels = node.in[0];
      layer.pixels = node.in.size() / node.in[0];
      layer.buffers = plan.node(node.partner).buffer_offset - plan.parameter_count;
    }
  }
  return all;
}();

/// Calls f(layer) for each layer that is measured in a segment.
template <class Model, class B, class F>
void each_measured(int segment, const F& f) {
  for (const measured_layer& layer : measured_layers<Model, B>)
    if (layer.segment == segment) f(layer);
}

/// Number of channels that are measured over the whole batch, and not by each replica for itself.
template <class Model, class B>
[[nodiscard]] std::int64_t exchanged_channels() {
  std::int64_t all = 0;
  for (const measured_layer& layer : measured_layers<Model, B>)
    if (!layer.local) all += layer.channels;
  return all;
}

/// After the forward pass of a segment: combines what `All` leaves have measured in it, or, in a layer of local
/// statistics, the `Own` leaves of the replica. `leaf(k)` is leaf k, `own(k)` leaf k of the replica.
template <class Model, class B, std::size_t All, std::size_t Own, class Batch, class Leaf, class OwnLeaf>
void combine_moments(int segment, Batch& batch, const Leaf& leaf, const OwnLeaf& own) {
  each_measured<Model, B>(segment, [&](const measured_layer& layer) {
    if (layer.local)
      batch.template combine_moments<Own>(layer.first, layer.channels, layer.epsilon, own);
    else
      batch.template combine_moments<All>(layer.first, layer.channels, layer.epsilon, leaf);
  });
}

/// Before the backward pass of a segment: combines the sums that the layers which were measured in it have taken.
template <class Model, class B, std::size_t All, std::size_t Own, class Batch, class Leaf, class OwnLeaf>
void combine_sums(int segment, Batch& batch, const Leaf& leaf, const OwnLeaf& own) {
  each_measured<Model, B>(segment, [&](const measured_layer& layer) {
    if (layer.local)
      batch.template combine_sums<Own>(layer.first, layer.channels, own);
    else
      batch.template combine_sums<All>(layer.first, layer.channels, leaf);
  });
}

/// Throws value_error when a layer for which `runs(leaf)` holds would measure a single value for each channel of
/// `samples` samples: of a batch, or, for layers of `local` statistics, of a replica's shard.
template <class Model, class B, class Runs>
void check_values_per_channel(std::int64_t samples, bool local, const Runs& runs) {
  for (const measured_layer& layer : measured_layers<Model, B>) {
    if (layer.local != local || samples * layer.pixels > 1 || !runs(layer.leaf)) continue;
    const std::string_view path = Model::paths[static_cast<std::size_t>(layer.leaf)].view();
    throw value_error(
        std::string(layer.kind).append(path.empty() ? "" : " '").append(path).append(path.empty() ? "" : "'"),
        local ? "more than one value for each channel on every replica when training"
              : "more than one value for each channel when training",
        (local ? "one, in a shard of " : "one, in a batch of ") + std::to_string(samples) +
            (samples == 1 ? " sample" : " samples"),
        "make batches larger, and drop a last one that is short");
  }
}

/// Computes the buffers after a batch from those before it: running means and variances, and the number of batches.
/// `before` and `after` point at the first buffer of the flat range, and may be equal.
template <class Model, class B, class Batch, class Value>
void update_buffers(const Batch& batch, const Value* before, Value* after) {
  for (const measured_layer& layer : measured_layers<Model, B>) {
    if (batch.forward[static_cast<std::size_t>(layer.first)].count == 0) continue;
    const std::int64_t at = layer.buffers;
    const std::int64_t channels = layer.channels;
    const double batches = static_cast<double>(before[at + 2 * channels]) + 1;
    const double weight = layer.cumulative_average ? 1 / batches : layer.momentum;
    const auto running = [&](std::int64_t i, double now) {
      after[i] = static_cast<Value>((1 - weight) * static_cast<double>(before[i]) + weight * now);
    };
    for (std::int64_t c = 0; c < channels; ++c) {
      const moments& of = batch.forward[static_cast<std::size_t>(layer.first + c)];
      running(at + c, of.mean);
      running(at + channels + c, of.count > 1 ? of.squares / (of.count - 1) : of.squares);
    }
    after[at + 2 * channels] = static_cast<Value>(batches);
  }
}

}  // namespace lockstep::detail
