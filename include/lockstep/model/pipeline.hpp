// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <utility>

#include <lockstep/backend/backend.hpp>
#include <lockstep/backend/capabilities.hpp>
#include <lockstep/backend/channel_layout.hpp>
#include <lockstep/core/static_for.hpp>
#include <lockstep/model/batch_statistics.hpp>
#include <lockstep/model/input_pack.hpp>
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

/// The memory of a pass over one micro-shard.
template <class B>
struct pass_memory {
  using activation = typename B::activation_type;

  activation* arena = nullptr;
  activation* kept = nullptr;                                       ///< for all samples of the shard
  std::int64_t shard = 0;                                           ///< samples that `kept` holds
  std::int64_t first = 0;                                           ///< the micro-shard's first sample among them
  leaf_statistics* leaf = nullptr;                                  ///< takes what the micro-shard measures
  const batch_statistics<typename B::value_type>* batch = nullptr;  ///< what the batch has measured
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
  /// Where the user's samples lie.
  using samples_type = input_pack<Model, const value>;

  /// True when `set_samples` can be called.
  static constexpr bool takes_fewer = []<std::size_t... Index>(std::index_sequence<Index...>) {
    for (const bool takes :
         std::initializer_list<bool>{takes_fewer_samples<typename node_op<Model, B, Index>::type>...})
      if (!takes) return false;
    return true;
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
    static_for<count>([&]<std::size_t Index>() { op<Index>().set_samples(samples); });
  }

  /// Runs the nodes of one segment, or, in inference, all nodes.
  template <int Segment, pass_observer Observer>
  void forward(context& c, pass p, const activation* parameters, const samples_type& x, const pass_memory<B>& memory,
               Observer& observer) {
    each_node<Segment>([&]<std::size_t Index>() { forward_node<Index>(c, p, parameters, x, memory, observer); });
  }
  static constexpr int all_segments = -1;

  /// Output K: in memory, or the input itself when the network changes no element.
  template <std::size_t K = 0>
  [[nodiscard]] const activation* output(bool training, const samples_type& x, const pass_memory<B>& memory) const {
    return value_of<plan.outputs[K].node>(training, unconverted(x), memory);
  }

  /// Runs the backward of every node of a segment, from the last node to the first. In the last segment, the gradient
  /// of each output must lie at its `output_gradient(memory)`.
  template <int Segment, pass_observer Observer>
  void backward(context& c, pass p, const activation* parameters, const samples_type& x, const pass_memory<B>& memory,
                value* gradients, bool accumulate, Observer& observer) {
    each_node<Segment, true>([&]<std::size_t Index>() {
      backward_node<Index>(c, p, parameters, x, memory, gradients, accumulate, observer);
    });
  }

  /// Where the loss of output K writes its gradient; null when nothing before that output learns.
  template <std::size_t K = 0>
  [[nodiscard]] activation* output_gradient(const pass_memory<B>& memory) const {
    constexpr const plan_output& output = plan.outputs[K];
    if constexpr (output.node < 0)
      return nullptr;
    else
      return at(memory, plan.node(output.node).gradient_buffer, output.extents.size());
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

  using activations = input_pack<Model, const activation>;

  /// `x` where a pass computes in the user's type; else null, since one node converts an input and no other node reads
  /// it.
  static activations unconverted([[maybe_unused]] const samples_type& x) {
    if constexpr (converts_values<B>)
      return {};
    else
      return x;
  }

  /// The nodes of a segment are neighbours: the first of them, and one past the last.
  static constexpr std::size_t first_of(int segment) {
    std::size_t i = 0;
    while (i < count && plan.nodes[i].segment < segment) ++i;
    return i;
  }
  /// Calls f<Index>() for the nodes of a segment, or for all.
  template <int Segment, bool Backwards = false, class F>
  static void each_node(const F& f) {
    constexpr std::size_t first = Segment == all_segments ? 0 : first_of(Segment);
    constexpr std::size_t last = Segment == all_segments ? count : first_of(Segment + 1);
    static_for<last - first>(
        [&]<std::size_t Index>() { f.template operator()<(Backwards ? last - 1 - Index : first + Index)>(); });
  }

  /// Where a range of memory begins, of `size` elements a sample; null for no_buffer.
  activation* at(const pass_memory<B>& memory, std::int64_t offset, [[maybe_unused]] std::int64_t size) const {
    if (offset == no_buffer) return nullptr;
    if constexpr (plan.segments > 1)
      if (offset >= kept_base) return memory.kept + (offset - kept_base) * memory.shard + memory.first * size;
    return memory.arena + offset * samples_;
  }

  /// The value that a node has computed, or the user's input.
  template <int Node>
  const activation* value_of(bool training, const activations& x, const pass_memory<B>& memory) const {
    constexpr int origin = plan.origin_of(Node);
    if constexpr (origin < 0) {
      return array_of<input_of(origin)>(x);
    } else {
      constexpr const plan_node& node = plan.nodes[static_cast<std::size_t>(Node)];
      return at(memory, training ? node.output_buffer : node.inference_buffer, node.out.size());
    }
  }
  /// Value K that node Index reads.
  template <std::size_t Index, int K>
  const activation* operand_of(bool training, const activations& x, const pass_memory<B>& memory) const {
    return value_of<plan.operand(plan.nodes[Index], K).from>(training, x, memory);
  }

  template <std::size_t Index, class Observer>
  void forward_node(context& c, pass& p, const activation* parameters, const samples_type& x,
                    const pass_memory<B>& memory, Observer& observer) {
    constexpr plan_node node = plan.nodes[Index];
    if constexpr (node.kind == node_kind::measure) {
      if (!p.training) return;
    }
    if constexpr (node.kind != node_kind::alias) {
      p.key.layer = static_cast<std::uint32_t>(node.leaf);
      observer.begin(pass_part::forward, static_cast<int>(Index));
      run_forward<Index>(c, p, parameters, x, memory);
      observer.end(pass_part::forward, static_cast<int>(Index));
    }
  }

  template <std::size_t Index>
  void run_forward(context& c, const pass& p, const activation* parameters, const samples_type& x,
                   const pass_memory<B>& memory) {
    constexpr plan_node node = plan.nodes[Index];
    const activations user = unconverted(x);
    if constexpr (node.kind == node_kind::measure) {
      measure<Index>(c, operand_of<Index, 0>(true, user, memory), memory);
    } else {
      activation* y = at(memory, p.training ? node.output_buffer : node.inference_buffer, node.out.size());
      if constexpr (node.kind == node_kind::sum || node.kind == node_kind::concat) {
        [&]<int... K>(std::integer_sequence<int, K...>) {
          op<Index>().forward(c, {operand_of<Index, K>(p.training, user, memory)...}, y);
        }(std::make_integer_sequence<int, node.operands>{});
      } else if constexpr (node.converts) {
        op<Index>().forward(c, p, array_of<input_of(plan.origin_of(plan.operand(node, 0).from))>(x), parameters, y);
      } else {
        const activation* in = operand_of<Index, 0>(p.training, user, memory);
        const activation* own = parameters + node.parameter_offset;
        if constexpr (node.partner < 0)
          op<Index>().forward(c, p, in, own, y);
        else if (p.training)
          op<Index>().forward(c, in, own, memory.batch->of(node.statistics), y);
        else
          op<Index>().infer(c, in, own, parameters + node.buffer_offset, y);
      }
    }
  }

  /// The op of the layer that a node measures for.
  template <std::size_t Index>
  auto& partner_of() {
    return op<static_cast<std::size_t>(plan.nodes[Index].partner)>();
  }

  template <std::size_t Index>
  void measure(context& c, const activation* x, const pass_memory<B>& memory) {
    constexpr const plan_node& node = plan.nodes[Index];
    constexpr channel_layout layout = std::remove_cvref_t<decltype(partner_of<Index>())>::layout;
    leaf_statistics& leaf = *memory.leaf;
    if constexpr (normalises_batches<B>)  // the executor does not compile without
      B::measure_channels(c, samples_, layout, x, leaf.first.data() + node.statistics,
                          leaf.second.data() + node.statistics);
    leaf.add_moments(node.statistics, layout.channels, static_cast<double>(samples_ * layout.pixels));
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
    const bool masks = node.fused_leaf >= 0 && !node.output_gradient_masked;
    const bool has_op = node.kind != node_kind::alias && (node.kind != node_kind::sum || masks);
    return node.runs_backward && (has_op || settles<Index>());
  }

  template <std::size_t Index, class Observer>
  void backward_node(context& c, pass& p, const activation* parameters, const samples_type& x,
                     const pass_memory<B>& memory, value* gradients, bool accumulate, Observer& observer) {
    constexpr plan_node node = plan.nodes[Index];
    if constexpr (works_backward<Index>()) {
      p.key.layer = static_cast<std::uint32_t>(node.leaf);
      observer.begin(pass_part::backward, static_cast<int>(Index));
      run_backward<Index>(c, p, parameters, x, memory, gradients, accumulate);
      if constexpr (settles<Index>())
        for (int k = 0; k < node.operands; ++k) settle(c, plan.operand(node, k), memory);
      observer.end(pass_part::backward, static_cast<int>(Index));
    }
  }

  template <std::size_t Index>
  void run_backward(context& c, const pass& p, const activation* parameters, const samples_type& x,
                    const pass_memory<B>& memory, value* gradients, bool accumulate) {
    constexpr plan_node node = plan.nodes[Index];
    const activations user = unconverted(x);
    activation* dy = at(memory, node.gradient_buffer, node.out.size());
    if constexpr (node.gradient_copy != no_buffer) {
      activation* own = at(memory, node.gradient_copy, node.out.size());
      B::copy(c, samples_ * node.out.size(), static_cast<const activation*>(dy), own);
      dy = own;
    }
    if constexpr (node.kind == node_kind::sum) {
      op<Index>().backward(c, value_of<static_cast<int>(Index)>(true, user, memory), dy);
    } else if constexpr (node.kind == node_kind::concat) {
      for (int k = 0; k < node.operands; ++k)
        if (const plan_operand& operand = plan.operand(node, k); operand.gradient)
          op<Index>().backward(c, static_cast<std::size_t>(k), dy, written_to(memory, operand));
    } else if constexpr (node.kind == node_kind::measure) {
      backward_measured<Index>(c, parameters, operand_of<Index, 0>(true, user, memory), dy, memory);
    } else if constexpr (node.kind != node_kind::alias) {
      if constexpr (node.repeats_forward) run_forward<Index>(c, p, parameters, x, memory);
      const backward_arguments<B> arguments{.x = operand_of<Index, 0>(true, user, memory),
                                            .y = value_of<static_cast<int>(Index)>(true, user, memory),
                                            .dy = dy,
                                            .parameters = parameters + node.parameter_offset,
                                            .dx = written_to(memory, plan.operand(node, 0)),
                                            .gradients = gradients_of<Index>(gradients),
                                            .accumulate = (accumulate || node.adds_gradients) && !node.frozen};
      if constexpr (node.partner < 0) {
        op<Index>().backward(c, p, arguments);
      } else {
        leaf_statistics& leaf = *memory.leaf;
        op<Index>().gradients(c, arguments, memory.batch->of(node.statistics), leaf.first.data() + node.statistics,
                              leaf.second.data() + node.statistics);
        leaf.add_sums(node.statistics, node.in[0]);
      }
    }
  }

  /// The gradient of what a layer has measured, once the sums over the batch are there.
  template <std::size_t Index>
  void backward_measured(context& c, const activation* parameters, const activation* x, const activation* dy,
                         const pass_memory<B>& memory) {
    constexpr const plan_node& node = plan.nodes[Index];
    const auto& batch = *memory.batch;
    partner_of<Index>().backward_input(
        c, x, dy, parameters + plan.nodes[static_cast<std::size_t>(node.partner)].parameter_offset,
        batch.of(node.statistics), batch.sums.data() + node.statistics, batch.products.data() + node.statistics,
        batch.forward[static_cast<std::size_t>(node.statistics)].count, written_to(memory, plan.operand(node, 0)));
  }

  /// Where backward writes the gradient of an operand.
  activation* written_to(const pass_memory<B>& memory, const plan_operand& operand) const {
    return operand.written_to == no_buffer ? nullptr
                                           : at(memory, operand.written_to, plan.node(operand.from).out.size());
  }

  /// Adds what a node has written for an operand to what other readers have.
  void settle(context& c, const plan_operand& operand, const pass_memory<B>& memory) {
    if (!operand.add.needed()) return;
    const std::int64_t size = plan.node(operand.from).out.size();
    if (operand.copy.needed())
      B::copy(c, samples_ * size, static_cast<const activation*>(at(memory, operand.copy.from, size)),
              at(memory, operand.copy.to, size));
    activation* const to = at(memory, operand.add.to, size);
    if constexpr (joins_values<B>) B::sum(c, samples_ * size, at(memory, operand.add.from, size), to, false, to);
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
