// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <cstddef>
#include <cstdint>

#include <lockstep/model/network_plan.hpp>

namespace lockstep::detail {

/// Places the parameters and buffers of a plan's nodes. Those that learn come first, so that gradients and all that
/// works on them are one range.
template <network_size Size>
class parameter_places {
 public:
  constexpr parameter_places(network_plan<Size>& plan, const network_data<Size>& network)
      : plan_(plan), network_(network) {}

  /// Gives a layer's parameters their place; those of a tied layer have one already.
  constexpr void place(plan_node& node, const placed_leaf& leaf) {
    node.parameter_size = leaf.parameters.size();
    node.frozen = leaf.frozen && node.parameter_size > 0;
    if (leaf.owner != node.leaf) {
      node.shares = true;
      return;
    }
    std::int64_t& end = node.frozen ? frozen_count_ : plan_.trainable_count;
    node.parameter_offset = end;
    node.buffer_offset = buffer_count_;
    for (int p = 0; p < leaf.parameters.count; ++p) {
      const parameter_spec& spec = leaf.parameters.items[p];
      std::int64_t& next = spec.buffer ? buffer_count_ : end;
      plan_.parameters[static_cast<std::size_t>(plan_.parameter_tensors++)] = {.node = plan_.node_count,
                                                                               .index = p,
                                                                               .shape = spec.shape,
                                                                               .offset = next,
                                                                               .bound = spec.bound,
                                                                               .value = spec.value,
                                                                               .deviation = spec.deviation,
                                                                               .zero_row = spec.zero_row,
                                                                               .buffer = spec.buffer,
                                                                               .counts = spec.counts,
                                                                               .learns = !spec.buffer && !node.frozen};
      next = checked_add(next, spec.shape.size());
    }
  }

  /// Moves frozen parameters, which were counted from zero, after the others, and buffers after all parameters. Tied
  /// layers find their parameters.
  constexpr void finish() {
    plan_.parameter_count = checked_add(plan_.trainable_count, frozen_count_);
    plan_.value_count = checked_add(plan_.parameter_count, buffer_count_);
    for (int p = 0; p < plan_.parameter_tensors; ++p) {
      plan_parameter& parameter = plan_.parameters[static_cast<std::size_t>(p)];
      if (!parameter.learns) parameter.offset += parameter.buffer ? plan_.parameter_count : plan_.trainable_count;
    }
    for (int i = 0; i < plan_.node_count; ++i) {
      plan_node& node = plan_.node(i);
      node.buffer_offset += plan_.parameter_count;
      if (node.frozen && !node.shares) node.parameter_offset += plan_.trainable_count;
    }
    for (int i = 0; i < plan_.node_count; ++i) {
      plan_node& node = plan_.node(i);
      if (!node.shares) continue;
      const int owner = network_.leaves[static_cast<std::size_t>(node.leaf)].owner;
      for (int k = 0; k < i; ++k) {
        if (plan_.node(k).kind != node_kind::layer ||
            network_.leaves[static_cast<std::size_t>(plan_.node(k).leaf)].owner != owner)
          continue;
        node.parameter_offset = plan_.node(k).parameter_offset;
        plan_.node(k).adds_gradients = true;  // the later node's backward comes first
      }
    }
  }

 private:
  network_plan<Size>& plan_;
  const network_data<Size>& network_;
  std::int64_t frozen_count_ = 0;
  std::int64_t buffer_count_ = 0;
};

}  // namespace lockstep::detail
