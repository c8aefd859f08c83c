// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <utility>

#include <lockstep/backend/backend.hpp>
#include <lockstep/model/model.hpp>
#include <lockstep/model/observer.hpp>

namespace lockstep::detail {

/// The op of a node that changes the order or the type of elements.
template <class B, node_traits T, node_kind Kind>
class order_op {
  using activation = typename B::activation_type;

 public:
  order_op(typename B::context&, std::int64_t samples) : samples_(samples) {}
  void set_samples(std::int64_t samples) noexcept { samples_ = samples; }

  template <class Element>
  void forward(typename B::context& c, const pass&, const Element* x, const activation*, activation* y) {
    if constexpr (Kind == node_kind::to_activation)
      B::convert(c, samples_ * T.in.size(), x, y);
    else if constexpr (Kind == node_kind::to_channels_last)
      B::to_channels_last(c, samples_, T.in, x, y);
    else
      B::to_plain(c, samples_, T.in, x, y);
  }
  void backward(typename B::context& c, const pass&, const backward_arguments<B>& a) {
    if constexpr (!T.input_gradient) return;
    if constexpr (Kind == node_kind::to_channels_last)
      B::to_plain(c, samples_, T.in, a.dy, a.dx);
    else
      B::to_channels_last(c, samples_, T.in, a.dy, a.dx);
  }

 private:
  std::int64_t samples_;
};

struct no_op {
  template <class Context>
  no_op(Context&, std::int64_t) {}
  void set_samples(std::int64_t) noexcept {}
};

/// The op of node Index of a model's plan.
template <class Model, class B, std::size_t Index>
struct node_op {
  static constexpr plan_node node = Model::template plan<B>.nodes[Index];

  static constexpr auto pick() {
    constexpr node_traits traits = node.traits();
    if constexpr (node.kind == node_kind::alias)
      return std::type_identity<no_op>{};
    else if constexpr (node.kind == node_kind::layer)
      return std::type_identity<
          typename Model::template leaf<static_cast<std::size_t>(node.leaf)>::template op<B, traits>>{};
    else
      return std::type_identity<order_op<B, traits, node.kind>>{};
  }
  using type = typename decltype(pick())::type;
};

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

  /// Runs every node. Returns the output: in the arena, or the input itself when the network only flattens it.
  template <pass_observer Observer>
  const activation* forward(context& c, pass p, const activation* parameters, const value* x, activation* arena,
                            Observer& observer) {
    const activation* now = unconverted(x);
    [&]<std::size_t... Index>(std::index_sequence<Index...>) {
      (forward_node<Index>(c, p, parameters, x, now, arena, observer), ...);
    }(indices{});
    return now;
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
    constexpr std::int64_t offset = plan.nodes[count - 1].gradient_buffer;
    if constexpr (offset == no_buffer)
      return nullptr;
    else
      return arena + offset * samples_;
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

  template <std::size_t Index, class Observer>
  void forward_node(context& c, pass& p, const activation* parameters, const value* x, const activation*& now,
                    activation* arena, Observer& observer) {
    constexpr plan_node node = plan.nodes[Index];
    if constexpr (node.kind != node_kind::alias) {
      activation* y = arena + (p.training ? node.output_buffer : node.inference_buffer) * samples_;
      p.key.layer = static_cast<std::uint32_t>(node.leaf);
      observer.begin(pass_part::forward, static_cast<int>(Index));
      if constexpr (node.converts)
        op<Index>().forward(c, p, x, parameters, y);
      else
        op<Index>().forward(c, p, now, parameters + node.parameter_offset, y);
      observer.end(pass_part::forward, static_cast<int>(Index));
      now = y;
    }
  }

  template <std::size_t Index, class Observer>
  void backward_node(context& c, pass& p, const activation* parameters, const activation* x, activation* arena,
                     value* gradients, bool accumulate, Observer& observer) {
    constexpr plan_node node = plan.nodes[Index];
    if constexpr (node.kind != node_kind::alias && node.runs_backward) {
      p.key.layer = static_cast<std::uint32_t>(node.leaf);
      const backward_arguments<B> arguments{.x = output_of<Index>(x, arena, 1),
                                            .y = output_of<Index>(x, arena, 0),
                                            .dy = arena + node.gradient_buffer * samples_,
                                            .parameters = parameters + node.parameter_offset,
                                            .dx = input_gradient<Index>(arena),
                                            .gradients = gradients_of<Index>(gradients),
                                            .accumulate = accumulate && !node.frozen};
      observer.begin(pass_part::backward, static_cast<int>(Index));
      op<Index>().backward(c, p, arguments);
      observer.end(pass_part::backward, static_cast<int>(Index));
    }
  }

  /// The output of node Index (back = 0) or of the node before it (back = 1).
  template <std::size_t Index>
  const activation* output_of(const activation* x, activation* arena, std::size_t back) const {
    if (Index < back) return x;
    const std::int64_t offset = plan.nodes[Index - back].output_buffer;
    return offset == no_buffer ? x : arena + offset * samples_;
  }

  template <std::size_t Index>
  value* gradients_of(value* gradients) {
    constexpr const plan_node& node = plan.nodes[Index];
    if constexpr (node.frozen)
      return unread_.data();
    else
      return gradients + node.parameter_offset;
  }

  template <std::size_t Index>
  activation* input_gradient(activation* arena) const {
    if constexpr (Index == 0)
      return nullptr;
    else if constexpr (!plan.nodes[Index].input_gradient)
      return nullptr;
    else
      return arena + plan.nodes[Index - 1].gradient_buffer * samples_;
  }

  std::int64_t most_;
  std::int64_t samples_;
  op_slots<Model, B, indices> ops_;
  typename B::template buffer<value> unread_;
};

}  // namespace lockstep::detail
