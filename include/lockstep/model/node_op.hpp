// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <array>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <type_traits>
#include <utility>

#include <lockstep/backend/backend.hpp>
#include <lockstep/backend/capabilities.hpp>
#include <lockstep/model/model.hpp>

/// \file
/// What runs a node of a plan: a layer's op, or one of those that the plan adds.

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

/// Adds two values, and applies a relu that follows. `Masks`: backward applies that relu's mask, which the next layer
/// does otherwise.
template <class B, std::int64_t Size, bool Relu, bool Masks>
class sum_op {
  using activation = typename B::activation_type;

 public:
  sum_op(typename B::context&, std::int64_t samples) : count_(samples * Size) {}
  void set_samples(std::int64_t samples) noexcept { count_ = samples * Size; }

  void forward(typename B::context& c, const std::array<const activation*, 2>& x, activation* y) {
    if constexpr (joins_values<B>) B::sum(c, count_, x[0], x[1], Relu, y);
  }
  /// Makes dy the gradient of both values.
  void backward(typename B::context& c, const activation* y, activation* dy) {
    if constexpr (Masks) B::relu_backward(c, count_, y, dy, dy);
  }

 private:
  std::int64_t count_;
};

/// Puts values one after the other: each of a sample's `Rows` rows is made of a row of each value, `Widths` elements
/// wide.
template <class B, std::int64_t Rows, std::array Widths>
class concat_op {
  using activation = typename B::activation_type;
  static constexpr std::size_t count = Widths.size();

 public:
  concat_op(typename B::context&, std::int64_t samples) : rows_(samples * Rows) {}
  void set_samples(std::int64_t samples) noexcept { rows_ = samples * Rows; }

  void forward(typename B::context& c, const std::array<const activation*, count>& x, activation* y) {
    if constexpr (joins_values<B>)
      for (std::size_t k = 0; k < count; ++k) B::copy_rows(c, rows_, Widths[k], x[k], Widths[k], y + before(k), width);
  }
  /// Copies the part of value k out of dy.
  void backward(typename B::context& c, std::size_t k, const activation* dy, activation* dx) {
    if constexpr (joins_values<B>) B::copy_rows(c, rows_, Widths[k], dy + before(k), width, dx, Widths[k]);
  }

 private:
  static constexpr std::int64_t before(std::size_t k) {
    std::int64_t sum = 0;
    for (std::size_t i = 0; i < k; ++i) sum += Widths[i];
    return sum;
  }
  static constexpr std::int64_t width = before(count);

  std::int64_t rows_;
};

struct no_op {
  template <class Context>
  no_op(Context&, std::int64_t) {}
  void set_samples(std::int64_t) noexcept {}
};

/// What of a node decides which code runs it; all else is read from the plan, so that equal layers share the code.
struct node_form {
  node_kind kind = node_kind::layer;
  int operands = 0;
  bool converts = false;
  unsigned tokens = 0;    ///< bit k: value k that it reads are tokens
  bool measured = false;  ///< a node measures for this layer

  /// True for a layer that reads several values.
  [[nodiscard]] constexpr bool is_joint() const { return kind == node_kind::layer && operands > 1 && !measured; }
  /// Which of a layer's values are tokens.
  [[nodiscard]] constexpr int token_operand() const { return std::countr_zero(tokens); }
};
[[nodiscard]] constexpr node_form form_of(const plan_node& node) {
  return {.kind = node.kind,
          .operands = node.operands,
          .converts = node.converts,
          .tokens = node.token_operands,
          .measured = node.kind == node_kind::layer && node.partner >= 0};
}

/// The op of node Index of a model's plan.
template <class Model, class B, std::size_t Index>
struct node_op {
  static constexpr const auto& plan = Model::template plan<B>;
  static constexpr plan_node node = plan.nodes[Index];

  /// Elements of a row of each value in a concat.
  template <std::size_t Count>
  static constexpr std::array<std::int64_t, Count> widths() {
    std::array<std::int64_t, Count> all{};
    const bool pixels = node.order_out == element_order::channels_last;
    for (std::size_t k = 0; k < Count; ++k) {
      const dims extents = plan.extents_of(plan.operand(node, static_cast<int>(k)).from);
      all[k] = pixels ? extents[0] : extents.size();
    }
    return all;
  }

  /// The extents of all values that the node reads.
  template <std::size_t Count>
  static constexpr std::array<dims, Count> operand_extents() {
    std::array<dims, Count> all{};
    for (std::size_t k = 0; k < Count; ++k) all[k] = plan.extents_of(plan.operand(node, static_cast<int>(k)).from);
    return all;
  }

  static constexpr auto pick() {
    constexpr node_traits traits = node.traits();
    if constexpr (node.kind == node_kind::alias || node.kind == node_kind::measure ||
                  node.kind == node_kind::skip_begin || node.kind == node_kind::skip_end)
      return std::type_identity<no_op>{};
    else if constexpr (node.is_joint())
      return std::type_identity<typename Model::template leaf<static_cast<std::size_t>(
          node.leaf)>::template op<B, traits, operand_extents<static_cast<std::size_t>(node.operands)>()>>{};
    else if constexpr (node.kind == node_kind::layer)
      return std::type_identity<
          typename Model::template leaf<static_cast<std::size_t>(node.leaf)>::template op<B, traits>>{};
    else if constexpr (node.kind == node_kind::sum)
      return std::type_identity<
          sum_op<B, node.out.size(), traits.relu, traits.relu && !traits.output_gradient_masked>>{};
    else if constexpr (node.kind == node_kind::concat)
      return std::type_identity<
          concat_op<B, node.order_out == element_order::channels_last ? node.out.size() / node.out[0] : 1,
                    widths<static_cast<std::size_t>(node.operands)>()>>{};
    else
      return std::type_identity<order_op<B, traits, node.kind>>{};
  }
  using type = typename decltype(pick())::type;
};

}  // namespace lockstep::detail
