// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <utility>

#include <lockstep/backend/backend.hpp>
#include <lockstep/model/model.hpp>
#include <lockstep/model/node_op.hpp>
#include <lockstep/model/observer.hpp>

namespace lockstep::detail {

template <std::size_t Index, class Op>
struct op_slot {
  Op op;

  template <class Context>
  op_slot(Context& c, std::int64_t samples) : op(c, samples) {}
};

template <class Model, class B, class Indices>
struct op_slots;
template <class Model, class B, std::size_t... Index>
struct op_slots<Model, B, std::index_sequence<Index...>> : op_slot<Index, typename node_op<Model, B, Index>::type>... {
  template <class Context>
  op_slots(Context& c, std::int64_t samples) : op_slot<Index, typename node_op<Model, B, Index>::type>(c, samples)... {}
};

/// A model's ops for a number of samples; a pass calls them in a fixed order. Owns the ops but no activations, which
/// lie in an arena that the caller passes.
///
/// The gradients cover the range of the parameters that learn. A layer need not know that it is frozen: where it
/// computes the gradients of its parameters anyway, backward sends them to a buffer that nobody reads.
template <class Model, class B>
class pipeline {
  static constexpr const auto& plan = Model::template plan<B>;
  static constexpr auto count = static_cast<std::size_t>(plan.node_count);
  using indices = std::make_index_sequence<count>;

 public:
  using value = typename B::value_type;
  using activation = typename B::activation_type;
  using context = typename B::context;

  /// True when `set_samples` can be called.
  static constexpr bool takes_fewer = []<std::size_t... Index>(std::index_sequence<Index...>) {
    return (takes_fewer_samples<typename node_op<Model, B, Index>::type> && ...);
  }(indices{});

  pipeline(context& c, std::int64_t samples)
      : most_(samples), samples_(samples), ops_(c, samples), unread_(B::template allocate<value>(c, unread_size)) {}

  /// The number of samples of the next passes.
  [[nodiscard]] std::int64_t samples() const noexcept { return samples_; }
  /// The number of samples that the ops were made for.
  [[nodiscard]] std::int64_t most() const noexcept { return most_; }

  /// Sets the number of samples of the next passes, at most `most()`.
  void set_samples(std::int64_t samples) noexcept
    requires(takes_fewer)
  {
    if (samples == samples_) return;
    samples_ = samples;
    [&]<std::size_t... Index>(std::index_sequence<Index...>) { (op<Index>().set_samples(samples), ...); }(indices{});
  }

  /// Runs every node. Returns the output: in the arena, or the input itself when the network changes no element.
  template <pass_observer Observer>
  const activation* forward(context& c, pass p, const activation* parameters, const value* x, activation* arena,
                            Observer& observer) {
    [&]<std::size_t... Index>(std::index_sequence<Index...>) {
      (forward_node<Index>(c, p, parameters, x, arena, observer), ...);
    }(indices{});
    return value_of<plan.output_node>(p.training, unconverted(x), arena);
  }

  /// Runs every node's backward, from the last node to the first. The gradient of the output must lie at
  /// `output_gradient(arena)`.
  template <pass_observer Observer>
  void backward(context& c, pass p, const activation* parameters, const value* x, activation* arena, value* gradients,
                bool accumulate, Observer& observer) {
    [&]<std::size_t... Index>(std::index_sequence<Index...>) {
      (backward_node<count - 1 - Index>(c, p, parameters, unconverted(x), arena, gradients, accumulate, observer), ...);
    }(indices{});
  }

  /// Where the loss writes its gradient; null when the model learns nothing.
  [[nodiscard]] activation* output_gradient(activation* arena) const {
    if constexpr (plan.output_node < 0)
      return nullptr;
    else
      return at(arena, plan.node(plan.output_node).gradient_buffer);
  }

 private:
  static constexpr std::array<bool, Model::leaf_count> skips = []<std::size_t... Leaf>(std::index_sequence<Leaf...>) {
    return std::array<bool, Model::leaf_count>{Model::template leaf<Leaf>::traits.skips_parameter_gradient...};
  }(std::make_index_sequence<Model::leaf_count>{});
  /// Size of the gradients of the largest frozen layer that runs backward and computes them.
  static constexpr std::int64_t unread_size = [] {
    std::int64_t size = 0;
    for (const plan_node& node : plan.nodes)
      if (node.frozen && node.runs_backward && !skips[static_cast<std::size_t>(node.leaf)])
        size = (std::max)(size, node.parameter_size);
    return size;
  }();

  template <std::size_t Index>
  auto& op() {
    return static_cast<op_slot<Index, typename node_op<Model, B, Index>::type>&>(ops_).op;
  }

  /// `x` where a pass computes in the user's type; else null, since one node converts `x` and no other node reads it.
  static const activation* unconverted([[maybe_unused]] const value* x) {
    if constexpr (converts_values<B>)
      return nullptr;
    else
      return x;
  }

  /// Where a range of the arena begins; null for no_buffer.
  activation* at(activation* arena, std::int64_t offset) const {
    return offset == no_buffer ? nullptr : arena + offset * samples_;
  }

  /// The value that a node has computed, or the user's input.
  template <int Node>
  const activation* value_of(bool training, const activation* x, activation* arena) const {
    if constexpr (Node < 0) {
      return x;
    } else {
      const std::int64_t offset = training ? plan.node(Node).output_buffer : plan.node(Node).inference_buffer;
      return offset == no_buffer ? x : arena + offset * samples_;
    }
  }
  /// Value K that node Index reads.
  template <std::size_t Index, int K>
  const activation* operand_of(bool training, const activation* x, activation* arena) const {
    return value_of<plan.operand(plan.nodes[Index], K).from>(training, x, arena);
  }

  template <std::size_t Index, class Observer>
  void forward_node(context& c, pass& p, const activation* parameters, const value* x, activation* arena,
                    Observer& observer) {
    constexpr plan_node node = plan.nodes[Index];
    if constexpr (node.kind != node_kind::alias) {
      activation* y = arena + (p.training ? node.output_buffer : node.inference_buffer) * samples_;
      p.key.layer = static_cast<std::uint32_t>(node.leaf);
      observer.begin(pass_part::forward, static_cast<int>(Index));
      if constexpr (node.kind == node_kind::sum || node.kind == node_kind::concat)
        [&]<int... K>(std::integer_sequence<int, K...>) {
          op<Index>().forward(c, {operand_of<Index, K>(p.training, unconverted(x), arena)...}, y);
        }(std::make_integer_sequence<int, node.operands>{});
      else if constexpr (node.converts)
        op<Index>().forward(c, p, x, parameters, y);
      else
        op<Index>().forward(c, p, operand_of<Index, 0>(p.training, unconverted(x), arena),
                            parameters + node.parameter_offset, y);
      observer.end(pass_part::forward, static_cast<int>(Index));
    }
  }

  /// True when the backward of node Index adds to gradients that others have written.
  template <std::size_t Index>
  static constexpr bool settles() {
    const plan_node& node = plan.nodes[Index];
    for (int k = 0; k < node.operands; ++k)
      if (plan.operand(node, k).add.needed()) return true;
    return false;
  }
  /// True when node Index has anything to do in a backward pass.
  template <std::size_t Index>
  static constexpr bool works_backward() {
    const plan_node& node = plan.nodes[Index];
    const bool has_op = node.kind != node_kind::alias && !(node.kind == node_kind::sum && node.fused_leaf < 0);
    return node.runs_backward && (has_op || settles<Index>());
  }

  template <std::size_t Index, class Observer>
  void backward_node(context& c, pass& p, const activation* parameters, const activation* x, activation* arena,
                     value* gradients, bool accumulate, Observer& observer) {
    constexpr plan_node node = plan.nodes[Index];
    if constexpr (works_backward<Index>()) {
      p.key.layer = static_cast<std::uint32_t>(node.leaf);
      observer.begin(pass_part::backward, static_cast<int>(Index));
      activation* dy = at(arena, node.gradient_buffer);
      if constexpr (node.gradient_copy != no_buffer) {
        activation* own = at(arena, node.gradient_copy);
        B::copy(c, samples_ * node.out.size(), static_cast<const activation*>(dy), own);
        dy = own;
      }
      if constexpr (node.kind == node_kind::sum) {
        op<Index>().backward(c, value_of<static_cast<int>(Index)>(true, x, arena), dy);
      } else if constexpr (node.kind == node_kind::concat) {
        for (int k = 0; k < node.operands; ++k)
          if (plan.operand(node, k).gradient)
            op<Index>().backward(c, static_cast<std::size_t>(k), dy, at(arena, plan.operand(node, k).written_to));
      } else if constexpr (node.kind != node_kind::alias) {
        const backward_arguments<B> arguments{.x = operand_of<Index, 0>(true, x, arena),
                                              .y = value_of<static_cast<int>(Index)>(true, x, arena),
                                              .dy = dy,
                                              .parameters = parameters + node.parameter_offset,
                                              .dx = at(arena, plan.operand(node, 0).written_to),
                                              .gradients = gradients_of<Index>(gradients),
                                              .accumulate = (accumulate || node.adds_gradients) && !node.frozen};
        op<Index>().backward(c, p, arguments);
      }
      if constexpr (settles<Index>())
        for (int k = 0; k < node.operands; ++k) settle(c, plan.operand(node, k), arena);
      observer.end(pass_part::backward, static_cast<int>(Index));
    }
  }

  /// Adds what a node has written for an operand to what other readers have.
  void settle(context& c, const plan_operand& operand, activation* arena) {
    if (!operand.add.needed()) return;
    const std::int64_t n = samples_ * plan.node(operand.from).out.size();
    if (operand.copy.needed())
      B::copy(c, n, static_cast<const activation*>(at(arena, operand.copy.from)), at(arena, operand.copy.to));
    activation* const to = at(arena, operand.add.to);
    if constexpr (joins_values<B>) B::sum(c, n, at(arena, operand.add.from), to, false, to);
  }

  template <std::size_t Index>
  value* gradients_of(value* gradients) {
    constexpr const plan_node& node = plan.nodes[Index];
    if constexpr (node.frozen)
      return unread_.data();
    else
      return gradients + node.parameter_offset;
  }

  std::int64_t most_;
  std::int64_t samples_;
  op_slots<Model, B, indices> ops_;
  typename B::template buffer<value> unread_;
};

}  // namespace lockstep::detail
