// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>

#include <lockstep/model/network_plan.hpp>

namespace lockstep::detail {

/// The number of readers of each node's value, and the last of them; the losses are more, without nodes.
template <network_size Size>
struct value_readers {
  std::array<int, network_plan<Size>::max_nodes> count{};
  std::array<int, network_plan<Size>::max_nodes> last{};

  constexpr explicit value_readers(const network_plan<Size>& plan) {
    const auto read = [&](int value, int by) {
      if (value < 0) return;
      ++count[static_cast<std::size_t>(value)];
      last[static_cast<std::size_t>(value)] = by;
    };
    for (int i = 0; i < plan.node_count; ++i)
      for (int k = 0; k < plan.node(i).operands; ++k) read(plan.operand(plan.node(i), k).from, i);
    for (int k = 0; k < plan.output_count; ++k) read(plan.outputs[static_cast<std::size_t>(k)].node, plan.node_count);
  }
};

/// Decides which nodes run backward and which apply the masks of fused relus, and counts the flops.
template <network_size Size>
constexpr network_plan<Size> build_backward(network_plan<Size> plan, const network_data<Size>& network) {
  for (int i = 0; i < plan.node_count; ++i) {
    plan_node& node = plan.node(i);
    for (int k = 0; k < node.operands; ++k) {
      plan_operand& operand = plan.operand(node, k);
      operand.gradient = operand.from >= 0 && plan.node(operand.from).runs_backward;
      node.input_gradient = node.input_gradient || operand.gradient;
    }
    node.runs_backward = node.input_gradient || node.learns();
    // The gradient of what arrives waits for sums over the whole batch: the node that measured computes it.
    if (node.kind == node_kind::layer && node.partner >= 0) plan.operand(node, 0).gradient = false;
    // What arrives at a skipped composite gets its gradient where the composite begins.
    if (node.kind == node_kind::skip_end) plan.operand(node, 1).gradient = false;
    plan.forward_flops = checked_add(plan.forward_flops, node.flops);
    plan.training_flops =
        checked_add(plan.training_flops, node.flops * (1 + (node.learns() ? 1 : 0) + (node.input_gradient ? 1 : 0)));
  }
  for (int i = 0; i < plan.node_count; ++i) {
    plan_node& node = plan.node(i);
    // Other micro-shards run between a forward pass and its backward, unless both are in the last segment.
    if (node.kind != node_kind::layer || !node.runs_backward || node.segment == plan.segments - 1 ||
        !network.leaves[static_cast<std::size_t>(node.leaf)].traits.remembers_forward)
      continue;
    node.repeats_forward = node.backward_reads_input = node.backward_reads_output = true;
  }
  const value_readers<Size> readers(plan);
  // A mask moves to the reader's backward where there is one reader, perhaps past new names for the value.
  const auto only_reader = [&](int i) {
    do {
      if (readers.count[static_cast<std::size_t>(i)] != 1) return plan.node_count;
      i = readers.last[static_cast<std::size_t>(i)];
    } while (i < plan.node_count && plan.node(i).kind == node_kind::alias);
    return i;
  };
  for (int i = 0; i < plan.node_count; ++i) {
    plan_node& node = plan.node(i);
    if (node.fused_leaf < 0 || !node.runs_backward) continue;
    const int next = only_reader(i);
    if (next == plan.node_count) continue;
    plan_node& reader = plan.node(next);
    if (reader.kind != node_kind::layer || !network.leaves[static_cast<std::size_t>(reader.leaf)].traits.masks_input)
      continue;
    reader.mask_input = true;
    reader.backward_reads_input = true;
    node.output_gradient_masked = true;
    if (!node.repeats_forward) node.backward_reads_output = false;
  }
  return plan;
}

}  // namespace lockstep::detail
