// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>

#include <lockstep/backend/backend.hpp>
#include <lockstep/core/shape.hpp>
#include <lockstep/core/token.hpp>
#include <lockstep/model/input_pack.hpp>
#include <lockstep/model/model.hpp>
#include <lockstep/model/network_plan.hpp>
#include <lockstep/model/pass_memory.hpp>

namespace lockstep::detail {

/// Where the values of a plan's nodes lie, for a number of samples: in the arena, in memory that is kept, or in the
/// user's.
template <class Model, class B>
class node_values {
  static constexpr const auto& plan = Model::template plan<B>;

 public:
  using activation = typename B::activation_type;
  using context = typename B::context;
  /// Where the user's samples lie, of a pass that computes in their type; else nothing.
  using activations = input_pack<Model, const activation>;

  explicit node_values(std::int64_t samples) : samples_(samples) {}

  /// Where a range of memory begins, of a value of these extents; null for no_buffer.
  activation* at(const pass_memory<B>& memory, std::int64_t offset, [[maybe_unused]] const dims& extents) const {
    if (offset == no_buffer) return nullptr;
    if constexpr (plan.segments > 1)
      if (offset >= kept_base) return memory.kept + (offset - kept_base) * memory.shard + memory.first * extents.size();
    return memory.arena + offset * samples_;
  }

  /// Where the input lies that a value is, itself or by another name.
  template <class Element, class Pack>
  static const Element* input_at(const Pack& x, int from) {
    return array_at<const Element>(x, Model::input_count == 1 ? 0 : input_of(plan.origin_of(from)));
  }
  /// The value that a node has computed, or the user's input.
  const activation* value_of(int from, bool training, const activations& x, const pass_memory<B>& memory) const {
    if (from < 0) return input_at<activation>(x, from);
    const plan_node& node = plan.node(from);
    const activation* found = at(memory, training ? node.output_buffer : node.inference_buffer, node.out);
    return found == nullptr ? input_at<activation>(x, from) : found;
  }
  /// Value k that a node reads.
  const activation* operand_of(const plan_node& node, int k, bool training, const activations& x,
                               const pass_memory<B>& memory) const {
    return value_of(plan.operand(node, k).from, training, x, memory);
  }

  /// All values that a node reads.
  template <std::size_t Count>
  std::array<const activation*, Count> operands_of(const plan_node& node, bool training, const activations& x,
                                                   const pass_memory<B>& memory) const {
    std::array<const activation*, Count> values{};
    for (std::size_t k = 0; k < Count; ++k) values[k] = operand_of(node, static_cast<int>(k), training, x, memory);
    return values;
  }
  /// Where backward writes the gradient of an operand.
  activation* written_to(const pass_memory<B>& memory, const plan_operand& operand) const {
    return operand.written_to == no_buffer ? nullptr : at(memory, operand.written_to, plan.node(operand.from).out);
  }

  /// Copies a value. The two places may be one.
  void copy(context& c, const dims& extents, const activation* from, activation* to) {
    if (from != to && to != nullptr) B::copy(c, samples_ * extents.size(), from, to);
  }

 protected:
  std::int64_t samples_;
};

}  // namespace lockstep::detail
