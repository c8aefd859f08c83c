// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <utility>

#include <lockstep/backend/element_order.hpp>
#include <lockstep/model/leaves.hpp>
#include <lockstep/nn/layer.hpp>

/// \file
/// Everything about a network that does not depend on the batch, computed by the compiler: shapes, which layers fuse,
/// where parameters lie, which layers run backward, and where each activation lies in the arena.

namespace lockstep {

/// What a node of the plan does.
enum class node_kind : std::uint8_t {
  layer,             ///< runs a layer's op
  alias,             ///< flatten: a new name for the same elements
  to_channels_last,  ///< changes the user's order to the backend's
  to_plain,          ///< changes the backend's order to the user's
  to_activation,     ///< converts the user's elements to the type that a pass computes in
};

/// Marks "no buffer": the user's input, or a gradient that nobody needs.
inline constexpr std::int64_t no_buffer = -1;

/// One node of the network, in order of execution. Offsets and sizes of activations count elements of one sample.
struct plan_node {
  node_kind kind = node_kind::layer;
  int leaf = -1;        ///< index of the layer in the flat list; -1 for a change of order or of elements
  int fused_leaf = -1;  ///< index of the relu that this node applies too
  dims in;
  dims out;
  element_order order_in = element_order::plain;
  element_order order_out = element_order::plain;
  dims picture;           ///< extents, before flatten, of a flattened channels-last input
  bool converts = false;  ///< reads the user's elements where a pass computes in another type
  bool output_gradient_masked = false;
  bool mask_input = false;
  bool runs_backward = false;
  bool input_gradient = false;
  bool backward_reads_input = false;
  bool backward_reads_output = false;
  bool backward_in_place = false;
  bool backward_overwrites_input = false;
  bool frozen = false;  ///< has parameters, and they do not learn
  std::int64_t parameter_offset = 0;
  std::int64_t parameter_size = 0;
  std::int64_t flops = 0;                     ///< forward, one sample
  std::int64_t output_buffer = no_buffer;     ///< arena offset of the output while training
  std::int64_t gradient_buffer = no_buffer;   ///< arena offset of the output's gradient
  std::int64_t inference_buffer = no_buffer;  ///< arena offset of the output in inference

  /// True when the node has parameters that learn.
  [[nodiscard]] constexpr bool learns() const { return parameter_size > 0 && !frozen; }

  [[nodiscard]] constexpr node_traits traits() const {
    return {.in = in,
            .out = out,
            .picture = picture.rank == 0 && in.rank == 3 && order_in == element_order::channels_last ? in : picture,
            .relu = fused_leaf >= 0,
            .output_gradient_masked = output_gradient_masked,
            .mask_input = mask_input,
            .input_gradient = input_gradient,
            .parameter_gradient = !frozen};
  }
};

/// One parameter: where it lies in the flat range.
struct plan_parameter {
  int node = 0;
  int index = 0;  ///< among the layer's parameters
  dims shape;
  std::int64_t offset = 0;
  double bound = 0;
};

namespace detail {

/// What the planner must know of each leaf, gathered once so that planning is a loop over values.
struct leaf_info {
  std::string_view kind;
  layer_traits traits;
  dims (*output)(const dims&);
  parameter_list (*parameters)(const dims&);
  std::int64_t (*flops)(const dims&);
  bool frozen = false;
};

template <class... Leaves>
consteval std::array<leaf_info, sizeof...(Leaves)> gather(type_list<Leaves...>,
                                                          const std::array<bool, sizeof...(Leaves)>& frozen) {
  std::size_t i = 0;
  return {
      leaf_info{Leaves::kind, Leaves::traits, &Leaves::output, &Leaves::parameters, &Leaves::flops, frozen[i++]}...};
}

/// A range to place in the arena. It lives from time `begin` to time `end` (inclusive).
struct arena_range {
  std::int64_t size = 0;
  int begin = 0;
  int end = 0;
  std::int64_t offset = no_buffer;
};

/// Rounds sizes up to 16 elements, so that every range of four-byte elements starts on a 64-byte line for any number of
/// samples.
constexpr std::int64_t arena_round(std::int64_t size) { return (size + 15) / 16 * 16; }

/// Places the largest ranges first, each at the lowest offset where no range alive at the same time lies. Returns the
/// arena's size. O(n^2) for n ranges. First-fit decreasing, as in the "greedy by size" strategy of Pisarchyk and Lee,
/// MLSys 2020.
template <std::size_t N>
constexpr std::int64_t place(std::array<arena_range, N>& ranges, std::size_t count) {
  std::int64_t total = 0;
  std::array<std::size_t, N> placed{};  // in order of offset
  std::size_t placed_count = 0;
  std::array<bool, N> done{};
  for (std::size_t round = 0; round < count; ++round) {
    std::size_t best = count;
    for (std::size_t i = 0; i < count; ++i)
      if (!done[i] && (best == count || ranges[i].size > ranges[best].size)) best = i;
    done[best] = true;
    arena_range& range = ranges[best];
    std::int64_t offset = 0;
    for (std::size_t k = 0; k < placed_count; ++k) {
      const arena_range& other = ranges[placed[k]];
      if (other.end < range.begin || range.end < other.begin) continue;
      if (offset + range.size <= other.offset) break;
      if (other.offset + other.size > offset) offset = other.offset + other.size;
    }
    range.offset = offset;
    if (offset + range.size > total) total = offset + range.size;
    std::size_t at = placed_count++;
    while (at > 0 && ranges[placed[at - 1]].offset > offset) {
      placed[at] = placed[at - 1];
      --at;
    }
    placed[at] = best;
  }
  return total;
}

}  // namespace detail

/// The static plan of a network of `Leaves` layers for one backend's order of pictures.
template <std::size_t Leaves>
struct network_plan {
  // A change of order can come before every layer and after the last one.
  static constexpr std::size_t max_nodes = 2 * Leaves + 1;
  static constexpr std::size_t max_parameters = Leaves * parameter_list::max_count;

  dims input;
  dims output;
  int node_count = 0;
  int parameter_tensors = 0;
  std::array<plan_node, max_nodes> nodes{};
  std::array<plan_parameter, max_parameters> parameters{};
  std::int64_t parameter_count = 0;
  std::int64_t trainable_count = 0;  ///< parameters that learn: elements [0, trainable_count) of the flat range
  std::int64_t forward_flops = 0;    ///< one sample
  std::int64_t training_flops = 0;   ///< one sample, forward and the gradients that somebody reads
  std::int64_t arena_size = 0;       ///< elements a sample, training
  std::int64_t unshared_size = 0;    ///< arena_size if every output and every gradient had its own range
  std::int64_t inference_arena_size = 0;
};

namespace detail {

constexpr bool order_matters(const dims& d) { return d.rank == 3 && d[0] > 1 && d[1] * d[2] > 1; }

/// Builds the nodes: inserts changes of order and of type, fuses relu into the layer before it, and places parameters.
/// Those that learn come first, so that gradients and all that works on them are one range.
template <std::size_t N>
constexpr void build_nodes(network_plan<N>& plan, const std::array<leaf_info, N>& leaves, element_order picture_order,
                           bool converts) {
  dims now = plan.input;
  element_order order = element_order::plain;
  dims picture;  // extents, before flatten, of a flattened channels-last sample
  std::int64_t frozen_count = 0;

  const auto push = [&](plan_node node) { plan.nodes[static_cast<std::size_t>(plan.node_count++)] = node; };
  const auto change = [&](node_kind kind, element_order to) {
    plan_node node;
    node.kind = kind;
    node.in = node.out = picture.rank == 3 ? picture : now;
    node.order_in = order;
    node.order_out = to;
    node.converts = std::exchange(converts, false);
    node.backward_reads_input = false;
    push(node);
    // A flattened sample stays flat in plain order.
    if (to == element_order::plain) plan.nodes[static_cast<std::size_t>(plan.node_count - 1)].out = now;
    order = to;
    picture = dims{};
  };

  for (std::size_t i = 0; i < N; ++i) {
    const leaf_info& leaf = leaves[i];
    if (leaf.traits.is_relu && plan.node_count > 0) {
      plan_node& before = plan.nodes[static_cast<std::size_t>(plan.node_count - 1)];
      if (before.kind == node_kind::layer && before.fused_leaf < 0 &&
          leaves[static_cast<std::size_t>(before.leaf)].traits.fuses_relu) {
        before.fused_leaf = static_cast<int>(i);
        before.backward_reads_output = true;
        before.flops += leaf.flops(now);
        continue;
      }
    }
    if (leaf.traits.needs_picture_order && order != picture_order && order_matters(now))
      change(node_kind::to_channels_last, picture_order);
    const bool wants_plain =
        !leaf.traits.needs_picture_order && !leaf.traits.takes_any_order && !leaf.traits.is_flatten;
    if (wants_plain && order != element_order::plain) change(node_kind::to_plain, element_order::plain);
    if (converts && !leaf.traits.is_flatten) change(node_kind::to_activation, order);

    plan_node node;
    node.kind = leaf.traits.is_flatten ? node_kind::alias : node_kind::layer;
    node.leaf = static_cast<int>(i);
    node.in = now;
    node.out = leaf.output(now);
    node.order_in = order;
    node.picture = picture;
    const auto list = leaf.parameters(now);
    node.parameter_size = list.size();
    node.frozen = leaf.frozen && node.parameter_size > 0;
    std::int64_t& end = node.frozen ? frozen_count : plan.trainable_count;
    node.parameter_offset = end;
    for (int p = 0; p < list.count; ++p) {
      plan.parameters[static_cast<std::size_t>(plan.parameter_tensors++)] = {plan.node_count, p, list.items[p].shape,
                                                                             end, list.items[p].bound};
      end = checked_add(end, list.items[p].shape.size());
    }
    node.flops = leaf.flops(now);
    node.backward_reads_input =
        leaf.traits.backward_reads_input && !(node.frozen && leaf.traits.skips_parameter_gradient);
    node.backward_reads_output = leaf.traits.backward_reads_output;
    node.backward_in_place = leaf.traits.backward_in_place;
    node.backward_overwrites_input = leaf.traits.backward_overwrites_input;

    if (leaf.traits.is_flatten) {
      if (order == element_order::channels_last && now.rank == 3) picture = now;
    } else if (node.out.rank == 3 && leaf.traits.needs_picture_order) {
      order = order_matters(node.out) ? picture_order : element_order::plain;
    } else if (leaf.traits.writes_plain_order || (node.out.rank != 3 && node.out != node.in)) {
      // Elements that are fewer than those of the picture, or of another rank, have no other order.
      order = element_order::plain;
      picture = dims{};
    }
    node.order_out = order;
    push(node);
    now = node.out;
  }
  if (converts) change(node_kind::to_activation, order);
  if (order != element_order::plain) change(node_kind::to_plain, element_order::plain);
  plan.output = now;
  // The loop counted frozen parameters from zero; they lie after the others.
  for (int p = 0; p < plan.parameter_tensors; ++p) {
    plan_parameter& parameter = plan.parameters[static_cast<std::size_t>(p)];
    plan_node& node = plan.nodes[static_cast<std::size_t>(parameter.node)];
    if (!node.frozen) continue;
    parameter.offset += plan.trainable_count;
    if (parameter.index == 0) node.parameter_offset = parameter.offset;
  }
  plan.parameter_count = checked_add(plan.trainable_count, frozen_count);
}

/// Decides which nodes run backward and which apply the masks of fused relus, and counts the flops.
template <std::size_t N>
constexpr void build_backward(network_plan<N>& plan, const std::array<leaf_info, N>& leaves) {
  bool learnt = false;
  for (int i = 0; i < plan.node_count; ++i) {
    plan_node& node = plan.nodes[static_cast<std::size_t>(i)];
    node.input_gradient = learnt;
    node.runs_backward = learnt || node.learns();
    learnt = node.runs_backward;
    plan.forward_flops = checked_add(plan.forward_flops, node.flops);
    plan.training_flops =
        checked_add(plan.training_flops, node.flops * (1 + (node.learns() ? 1 : 0) + (node.input_gradient ? 1 : 0)));
  }
  for (int i = 0; i + 1 < plan.node_count; ++i) {
    plan_node& node = plan.nodes[static_cast<std::size_t>(i)];
    if (node.fused_leaf < 0 || !node.runs_backward) continue;
    int next = i + 1;
    while (next + 1 < plan.node_count && plan.nodes[static_cast<std::size_t>(next)].kind == node_kind::alias) ++next;
    plan_node& reader = plan.nodes[static_cast<std::size_t>(next)];
    if (reader.kind != node_kind::layer || !leaves[static_cast<std::size_t>(reader.leaf)].traits.masks_input) continue;
    reader.mask_input = true;
    reader.backward_reads_input = true;
    node.output_gradient_masked = true;
    node.backward_reads_output = false;
  }
}

/// Places outputs and gradients in the arena. Node i runs forward at time i and backward at time 2n - i; the loss runs
/// at n.
template <std::size_t N>
constexpr void build_arena(network_plan<N>& plan) {
  constexpr std::size_t max_ranges = 2 * network_plan<N>::max_nodes;
  const int n = plan.node_count;
  const auto node_at = [&](int i) -> plan_node& { return plan.nodes[static_cast<std::size_t>(i)]; };
  const auto backward_time = [&](int i) { return n + 1 + (n - 1 - i); };

  std::array<arena_range, max_ranges> ranges{};
  std::size_t count = 0;
  std::array<int, network_plan<N>::max_nodes> output_of{};    // range of a node's output, -1: the user's input
  std::array<int, network_plan<N>::max_nodes> gradient_of{};  // range of its gradient, -1: none

  for (int i = 0; i < n; ++i) {
    const auto at = static_cast<std::size_t>(i);
    if (node_at(i).kind == node_kind::alias) {
      output_of[at] = i == 0 ? -1 : output_of[at - 1];
    } else {
      output_of[at] = static_cast<int>(count);
      ranges[count++] = {arena_round(node_at(i).out.size()), i, i, no_buffer};
    }
    const auto use = [&](int range, int time) {
      if (range >= 0 && ranges[static_cast<std::size_t>(range)].end < time)
        ranges[static_cast<std::size_t>(range)].end = time;
    };
    const int input = i == 0 ? -1 : output_of[at - 1];
    use(input, i);
    if (node_at(i).runs_backward) {
      // A weight gradient, or the mask of the relu before the node, reads the elements of the input.
      if (node_at(i).backward_reads_input) use(input, backward_time(i));
      if (node_at(i).backward_reads_output) use(output_of[at], backward_time(i));
    }
    if (i == n - 1) use(output_of[at], n);
  }
  for (int i = n - 1; i >= 0; --i) {
    const auto at = static_cast<std::size_t>(i);
    gradient_of[at] = -1;
    const bool last = i == n - 1;
    if (!node_at(i).runs_backward) continue;
    const int born = last ? n : backward_time(i + 1);
    if (!last && (node_at(i + 1).kind == node_kind::alias || node_at(i + 1).backward_in_place)) {
      gradient_of[at] = gradient_of[at + 1];
    } else if (!last && node_at(i + 1).backward_overwrites_input && output_of[at] >= 0 &&
               ranges[static_cast<std::size_t>(output_of[at])].end == born) {
      // Nobody reads the output after the next layer's backward, so the output's gradient takes its place.
      gradient_of[at] = output_of[at];
    } else {
      gradient_of[at] = static_cast<int>(count);
      ranges[count++] = {arena_round(node_at(i).out.size()), born, born, no_buffer};
    }
    ranges[static_cast<std::size_t>(gradient_of[at])].end = backward_time(i);
  }
  plan.arena_size = place(ranges, count);
  for (int i = 0; i < n; ++i) {
    if (node_at(i).kind == node_kind::alias) continue;
    const int copies = node_at(i).runs_backward ? 2 : 1;  // output and its gradient
    plan.unshared_size = checked_add(plan.unshared_size, copies * arena_round(node_at(i).out.size()));
  }
  for (int i = 0; i < n; ++i) {
    const auto at = static_cast<std::size_t>(i);
    if (output_of[at] >= 0) node_at(i).output_buffer = ranges[static_cast<std::size_t>(output_of[at])].offset;
    if (gradient_of[at] >= 0) node_at(i).gradient_buffer = ranges[static_cast<std::size_t>(gradient_of[at])].offset;
  }

  std::array<arena_range, max_ranges> forward{};
  std::size_t forward_count = 0;
  for (int i = 0; i < n; ++i) {
    const auto at = static_cast<std::size_t>(i);
    if (node_at(i).kind == node_kind::alias) {
      output_of[at] = i == 0 ? -1 : output_of[at - 1];
    } else {
      output_of[at] = static_cast<int>(forward_count);
      forward[forward_count++] = {arena_round(node_at(i).out.size()), i, i + 1, no_buffer};
    }
    if (output_of[at] >= 0) forward[static_cast<std::size_t>(output_of[at])].end = i + 1;
  }
  plan.inference_arena_size = place(forward, forward_count);
  for (int i = 0; i < n; ++i) {
    const int range = output_of[static_cast<std::size_t>(i)];
    if (range >= 0) node_at(i).inference_buffer = forward[static_cast<std::size_t>(range)].offset;
  }
}

}  // namespace detail

/// The plan of a flat list of layers for samples of extents `input` and a backend that keeps pictures in
/// `picture_order`. `frozen` flags the layers whose parameters do not learn; `converts` says that passes compute in
/// another type than the user's elements.
template <class... Leaves>
consteval network_plan<sizeof...(Leaves)> make_plan(detail::type_list<Leaves...> list, const dims& input,
                                                    element_order picture_order,
                                                    const std::array<bool, sizeof...(Leaves)>& frozen = {},
                                                    bool converts = false) {
  network_plan<sizeof...(Leaves)> plan;
  plan.input = input;
  const auto leaves = detail::gather(list, frozen);
  detail::build_nodes(plan, leaves, picture_order, converts);
  detail::build_backward(plan, leaves);
  detail::build_arena(plan);
  return plan;
}

}  // namespace lockstep
