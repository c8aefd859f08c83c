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
#include <lockstep/core/token.hpp>
#include <lockstep/model/batch_statistics.hpp>
#include <lockstep/model/input_pack.hpp>
#include <lockstep/model/model.hpp>
#include <lockstep/model/node_op.hpp>
#include <lockstep/model/node_values.hpp>
#include <lockstep/model/observer.hpp>
#include <lockstep/model/op_slots.hpp>
#include <lockstep/model/pass_memory.hpp>
#include <lockstep/model/skipped_parts.hpp>

namespace lockstep::detail {

/// A model's ops for a number of samples; a pass calls them in a fixed order. Owns the ops but no activations, which
/// lie in an arena that the caller passes.
///
/// The gradients cover the range of the parameters that learn. A layer need not know that it is frozen: where it
/// computes the gradients of its parameters anyway, backward sends them to a buffer that nobody reads.
template <class Model, class B>
class pipeline : private node_values<Model, B> {
  static constexpr const auto& plan = Model::template plan<B>;
  static constexpr auto count = static_cast<std::size_t>(plan.node_count);
  using indices = std::make_index_sequence<count>;
  using parts = skipped_parts<Model>;
  using values = node_values<Model, B>;
  using values::at;
  using values::copy;
  using values::operand_of;
  using values::samples_;
  using values::value_of;
  using values::written_to;

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
      : values(samples), most_(samples), ops_(c, samples), unread_(B::template allocate<value>(c, unread_size)) {
    find_ops(indices{});
  }
  pipeline(const pipeline&) = delete;
  pipeline& operator=(const pipeline&) = delete;

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
    static constexpr auto setters = []<std::size_t... Index>(std::index_sequence<Index...>) {
      return std::array<void (*)(void*, std::int64_t) noexcept, count>{
          &set_samples_of<typename node_op<Model, B, Index>::type>...};
    }(indices{});
    for (std::size_t i = 0; i < count; ++i) setters[i](op_at_[i], samples);
  }

  /// Runs the nodes of one segment, or, in inference, all nodes.
  template <pass_observer Observer>
  void forward(int segment, context& c, const pass& p, const activation* parameters, const samples_type& x,
               const pass_memory<B>& memory, Observer& observer) {
    static constexpr auto runs = []<std::size_t... Index>(std::index_sequence<Index...>) {
      return std::array<node_function, count>{run_of<Index>()...};
    }(indices{});
    turn t{.c = c, .p = p, .parameters = parameters, .x = x, .memory = memory};
    for (std::size_t i = first_of(segment); i < end_of(segment); ++i) {
      if (runs[i] == nullptr || (plan.nodes[i].kind == node_kind::measure && !p.training)) continue;
      t.p.key.layer = static_cast<std::uint32_t>(plan.nodes[i].leaf);
      observer.begin(pass_part::forward, static_cast<int>(i));
      if (!parts::skips(t.p, parts::around(plan.nodes[i]))) runs[i](*this, i, t);
      observer.end(pass_part::forward, static_cast<int>(i));
    }
  }
  static constexpr int all_segments = -1;

  /// Output K: in memory, or the input itself when the network changes no element.
  template <std::size_t K = 0>
  [[nodiscard]] const activation* output(bool training, const samples_type& x, const pass_memory<B>& memory) const {
    return value_of(plan.outputs[K].node, training, unconverted(x), memory);
  }

  /// Runs the backward of every node of a segment, from the last node to the first. In the last segment, the gradient
  /// of each output must lie at its `output_gradient(memory)`.
  template <pass_observer Observer>
  void backward(int segment, context& c, const pass& p, const activation* parameters, const samples_type& x,
                const pass_memory<B>& memory, value* gradients, bool accumulate, Observer& observer) {
    static constexpr auto runs = []<std::size_t... Index>(std::index_sequence<Index...>) {
      return std::array<node_function, count>{run_backward_of<Index>()...};
    }(indices{});
    turn t{.c = c,
           .p = p,
           .parameters = parameters,
           .x = x,
           .memory = memory,
           .gradients = gradients,
           .accumulate = accumulate};
    const std::size_t first = first_of(segment);
    for (std::size_t i = end_of(segment); i-- > first;) {
      if (runs[i] == nullptr) continue;
      const plan_node& node = plan.nodes[i];
      t.p.key.layer = static_cast<std::uint32_t>(node.leaf);
      observer.begin(pass_part::backward, static_cast<int>(i));
      if (!parts::skips(t.p, parts::around(node))) {
        runs[i](*this, i, t);
        for (int k = 0; k < node.operands; ++k) settle(c, plan.operand(node, k), memory);
      } else if (node.learns() && !accumulate && !node.adds_gradients) {
        B::clear(c, node.parameter_size, gradients + node.parameter_offset);
      }
      observer.end(pass_part::backward, static_cast<int>(i));
    }
  }

  /// Where the loss of output K writes its gradient; null when nothing before that output learns.
  template <std::size_t K = 0>
  [[nodiscard]] activation* output_gradient(const pass_memory<B>& memory) const {
    constexpr const plan_output& output = plan.outputs[K];
    if constexpr (output.node < 0)
      return nullptr;
    else
      return at(memory, plan.node(output.node).gradient_buffer, output.extents);
  }

 private:
  static constexpr std::array<bool, Model::leaf_count> no_gradients =
      []<std::size_t... Leaf>(std::index_sequence<Leaf...>) {
        return std::array<bool, Model::leaf_count>{Model::template leaf<Leaf>::traits.skips_parameter_gradient...};
      }(std::make_index_sequence<Model::leaf_count>{});
  /// Size of the gradients of the largest frozen layer that runs backward and computes them.
  static constexpr std::int64_t unread_size = [] {
    std::int64_t size = 0;
    for (const plan_node& node : plan.nodes)
      if (node.frozen && node.runs_backward && !no_gradients[static_cast<std::size_t>(node.leaf)])
        size = (std::max)(size, node.parameter_size);
    return size;
  }();

  template <std::size_t... Index>
  void find_ops(std::index_sequence<Index...>) {
    op_at_ = {&static_cast<op_slot<Index, typename node_op<Model, B, Index>::type>&>(ops_).op...};
  }
  template <class Op>
  static void set_samples_of(void* op, std::int64_t samples) noexcept {
    static_cast<Op*>(op)->set_samples(samples);
  }

  using activations = typename values::activations;

  /// `x` where a pass computes in the user's type; else null, since one node converts an input and no other node reads
  /// it.
  static activations unconverted([[maybe_unused]] const samples_type& x) {
    if constexpr (converts_values<B>)
      return {};
    else
      return x;
  }

  /// The nodes of a segment are neighbours: the first of each, and one past the last of all.
  static constexpr auto segment_begins = [] {
    std::array<std::size_t, static_cast<std::size_t>(plan.segments) + 1> begins{};
    for (std::size_t i = 0; i < count; ++i) ++begins[static_cast<std::size_t>(plan.nodes[i].segment) + 1];
    for (std::size_t s = 1; s < begins.size(); ++s) begins[s] += begins[s - 1];
    return begins;
  }();
  static std::size_t first_of(int segment) {
    return segment == all_segments ? 0 : segment_begins[static_cast<std::size_t>(segment)];
  }
  static std::size_t end_of(int segment) {
    return segment == all_segments ? count : segment_begins[static_cast<std::size_t>(segment) + 1];
  }

  /// What the functions of nodes are given.
  struct turn {
    context& c;
    pass p;
    const activation* parameters;
    const samples_type& x;
    const pass_memory<B>& memory;
    value* gradients = nullptr;
    bool accumulate = false;
  };
  using node_function = void (*)(pipeline&, std::size_t, const turn&);

  /// The tokens among the values that a node reads: value number Which.
  template <int Which = 0>
  static const token_id* tokens_of(const turn& t, const plan_node& node) {
    return values::template input_at<token_id>(t.x, plan.operand(node, Which).from);
  }

  template <std::size_t Index>
  static constexpr node_form form = form_of(plan.nodes[Index]);
  /// All values that a node reads.
  template <node_form Form>
  auto operands(const plan_node& node, bool training, const activations& x, const pass_memory<B>& memory) const {
    return values::template operands_of<static_cast<std::size_t>(Form.operands)>(node, training, x, memory);
  }
  /// The node whose op a node runs: of one that measures, the layer's that it measures for.
  template <std::size_t Index>
  static constexpr std::size_t actor =
      plan.nodes[Index].kind == node_kind::measure ? static_cast<std::size_t>(plan.nodes[Index].partner) : Index;
  template <std::size_t Index>
  using actor_op = typename node_op<Model, B, actor<Index>>::type;

  /// The function that runs a node forward; null for a new name, which needs none.
  template <std::size_t Index>
  static constexpr node_function run_of() {
    if constexpr (form<Index>.kind == node_kind::alias || form<Index>.kind == node_kind::skip_begin)
      return nullptr;
    else
      return &run_forward<actor_op<Index>, form<Index>>;
  }

  /// The op of node i, or of the layer that it measures for.
  template <class Op, node_form Form>
  Op& op_of(std::size_t i) {
    if constexpr (Form.kind == node_kind::measure) i = static_cast<std::size_t>(plan.nodes[i].partner);
    return *static_cast<Op*>(op_at_[i]);
  }

  template <class Op, node_form Form>
  static void run_forward(pipeline& self, std::size_t i, const turn& t) {
    const plan_node& node = plan.nodes[i];
    const pass& p = t.p;
    const activations user = unconverted(t.x);
    Op& op = self.template op_of<Op, Form>(i);
    if constexpr (Form.kind == node_kind::measure) {
      self.measure(t.c, op, node, self.operand_of(node, 0, true, user, t.memory), t.memory);
    } else {
      activation* y = self.at(t.memory, p.training ? node.output_buffer : node.inference_buffer, node.out);
      if constexpr (Form.kind == node_kind::skip_end) {
        if (parts::skips(p, node.skip))
          self.copy(t.c, node.out, self.operand_of(node, 1, p.training, user, t.memory), y);
      } else if constexpr (Form.kind == node_kind::sum || Form.kind == node_kind::concat) {
        op.forward(t.c, self.template operands<Form>(node, p.training, user, t.memory), y);
      } else if constexpr (Form.converts) {
        op.forward(t.c, p, values::template input_at<value>(t.x, plan.operand(node, 0).from), t.parameters, y);
      } else if constexpr (Form.is_joint()) {
        const auto x = self.template operands<Form>(node, p.training, user, t.memory);
        if constexpr (Form.tokens != 0)
          op.forward(t.c, p, x, t.parameters + node.parameter_offset, y, tokens_of<Form.token_operand()>(t, node));
        else
          op.forward(t.c, p, x, t.parameters + node.parameter_offset, y);
      } else if constexpr (Form.tokens != 0) {
        op.forward(t.c, p, tokens_of(t, node), t.parameters + node.parameter_offset, y);
      } else {
        const activation* in = self.operand_of(node, 0, p.training, user, t.memory);
        const activation* own = t.parameters + node.parameter_offset;
        if constexpr (!Form.measured) {
          op.forward(t.c, p, in, own, y);
        } else {
          const activation* addend = node.adds_value() ? self.operand_of(node, 1, p.training, user, t.memory) : nullptr;
          if (p.training)
            op.forward(t.c, in, own, t.memory.batch->of(node.statistics), addend, y);
          else
            op.infer(t.c, in, own, t.parameters + node.buffer_offset, addend, y);
        }
      }
    }
  }

  template <class Op>
  void measure(context& c, const Op&, const plan_node& node, const activation* x, const pass_memory<B>& memory) {
    constexpr channel_layout layout = Op::layout;
    leaf_statistics& leaf = *memory.leaf;
    if constexpr (normalises_batches<B>)  // the executor does not compile without
      B::measure_channels(c, samples_, layout, x, leaf.first.data() + node.statistics,
                          leaf.second.data() + node.statistics);
    leaf.add_moments(node.statistics, layout.channels, static_cast<double>(samples_ * layout.pixels));
  }

  /// True when node Index has anything to do in a backward pass: an op, or gradients to add to those of others.
  template <std::size_t Index>
  static constexpr bool works_backward() {
    const plan_node& node = plan.nodes[Index];
    bool settles = false;
    for (int k = 0; k < node.operands; ++k) settles = settles || plan.operand(node, k).add.needed();
    const bool masks = node.fused_leaf >= 0 && !node.output_gradient_masked;
    const bool has_op =
        node.kind != node_kind::alias && node.kind != node_kind::skip_end && (node.kind != node_kind::sum || masks);
    return node.runs_backward && (has_op || settles);
  }
  template <std::size_t Index>
  static constexpr node_function run_backward_of() {
    if constexpr (works_backward<Index>())
      return &run_backward<actor_op<Index>, form<Index>>;
    else
      return nullptr;
  }

  template <class Op, node_form Form>
  static void run_backward(pipeline& self, std::size_t i, const turn& t) {
    const plan_node& node = plan.nodes[i];
    const pass_memory<B>& memory = t.memory;
    [[maybe_unused]] const activations user = unconverted(t.x);
    [[maybe_unused]] Op& op = self.template op_of<Op, Form>(i);
    activation* dy = self.at(memory, node.gradient_buffer, node.out);
    if (node.gradient_copy != no_buffer) {
      activation* own = self.at(memory, node.gradient_copy, node.out);
      self.copy(t.c, node.out, dy, own);
      dy = own;
    }
    if constexpr (Form.kind == node_kind::skip_begin) {
      const plan_node& end = plan.node(node.partner);
      if (parts::skips(t.p, node.skip)) self.copy(t.c, node.out, self.at(memory, end.gradient_buffer, end.out), dy);
    } else if constexpr (Form.kind == node_kind::sum) {
      op.backward(t.c, self.value_of(static_cast<int>(i), true, user, memory), dy);
    } else if constexpr (Form.kind == node_kind::concat) {
      for (int k = 0; k < node.operands; ++k)
        if (const plan_operand& operand = plan.operand(node, k); operand.gradient)
          op.backward(t.c, static_cast<std::size_t>(k), dy, self.written_to(memory, operand));
    } else if constexpr (Form.kind == node_kind::measure) {
      self.backward_measured(t, op, node, dy);
    } else if constexpr (Form.kind != node_kind::alias && Form.kind != node_kind::skip_end) {
      if (node.repeats_forward) run_forward<Op, Form>(self, i, t);
      if constexpr (Form.is_joint())
        self.template backward_joint<Op, Form>(t, op, i, dy);
      else
        self.template backward_layer<Op, Form>(t, op, i, dy);
    }
  }

  /// The backward of a layer that reads one value, and of a change of order.
  template <class Op, node_form Form>
  void backward_layer(const turn& t, Op& op, std::size_t i, activation* dy) {
    const plan_node& node = plan.nodes[i];
    const pass_memory<B>& memory = t.memory;
    const activations user = unconverted(t.x);
    const backward_arguments<B> arguments{
        .x = operand_of(node, 0, true, user, memory),
        .y = value_of(static_cast<int>(i), true, user, memory),
        .dy = dy,
        .parameters = t.parameters + node.parameter_offset,
        .dx = written_to(memory, plan.operand(node, 0)),
        .gradients = node.frozen ? unread_.data() : t.gradients + node.parameter_offset,
        .accumulate = (t.accumulate || node.adds_gradients) && !node.frozen};
    if constexpr (Form.tokens != 0) {
      op.backward(t.c, t.p, arguments, tokens_of(t, node));
    } else if constexpr (!Form.measured) {
      op.backward(t.c, t.p, arguments);
    } else {
      leaf_statistics& leaf = *memory.leaf;
      op.gradients(t.c, arguments, memory.batch->of(node.statistics), leaf.first.data() + node.statistics,
                   leaf.second.data() + node.statistics);
      leaf.add_sums(node.statistics, node.in[0]);
    }
  }

  /// The backward of a layer that reads several values.
  template <class Op, node_form Form>
  void backward_joint(const turn& t, Op& op, std::size_t i, activation* dy) {
    const plan_node& node = plan.nodes[i];
    const activations user = unconverted(t.x);
    constexpr auto count_of_values = static_cast<std::size_t>(Form.operands);
    joint_backward_arguments<B, count_of_values> arguments{
        .x = operands<Form>(node, true, user, t.memory),
        .y = value_of(static_cast<int>(i), true, user, t.memory),
        .dy = dy,
        .parameters = t.parameters + node.parameter_offset,
        .dx = {},
        .gradients = node.frozen ? unread_.data() : t.gradients + node.parameter_offset,
        .accumulate = (t.accumulate || node.adds_gradients) && !node.frozen};
    for (std::size_t k = 0; k < count_of_values; ++k)
      arguments.dx[k] = written_to(t.memory, plan.operand(node, static_cast<int>(k)));
    if constexpr (Form.tokens != 0)
      op.backward(t.c, t.p, arguments, tokens_of<Form.token_operand()>(t, node));
    else
      op.backward(t.c, t.p, arguments);
  }

  /// The gradient of what a layer has measured, once the sums over the batch are there.
  template <class Op>
  void backward_measured(const turn& t, Op& op, const plan_node& node, const activation* dy) {
    const pass_memory<B>& memory = t.memory;
    const auto& batch = *memory.batch;
    op.backward_input(t.c, operand_of(node, 0, true, unconverted(t.x), memory), dy,
                      t.parameters + plan.node(node.partner).parameter_offset, batch.of(node.statistics),
                      batch.sums.data() + node.statistics, batch.products.data() + node.statistics,
                      batch.forward[static_cast<std::size_t>(node.statistics)].count,
                      written_to(memory, plan.operand(node, 0)));
  }

  /// Adds what a node has written for an operand to what other readers have.
  void settle(context& c, const plan_operand& operand, const pass_memory<B>& memory) {
    if (!operand.add.needed()) return;
    const dims& extents = plan.node(operand.from).out;
    const std::int64_t size = extents.size();
    if (operand.copy.needed())
      B::copy(c, samples_ * size, static_cast<const activation*>(at(memory, operand.copy.from, extents)),
              at(memory, operand.copy.to, extents));
    activation* const to = at(memory, operand.add.to, extents);
    if constexpr (joins_values<B>) B::sum(c, samples_ * size, at(memory, operand.add.from, extents), to, false, to);
  }

  std::int64_t most_;
  op_slots<Model, B, indices> ops_;
  std::array<void*, count> op_at_{};
  typename B::template buffer<value> unread_;
};

}  // namespace lockstep::detail
