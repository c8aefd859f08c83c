// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <cstdint>

#include <lockstep/backend/geometry.hpp>
#include <lockstep/nn/layer.hpp>

namespace lockstep::detail {

/// Rows (Queries + M, C) become Queries rows of C elements, the queries, and then M rows of 2C, keys and values: two
/// products with parts of one weight (3C, C) and one bias, if any.
template <class B, node_traits T, std::int64_t Queries, bool Bias>
class cross_projection_op {
  using activation = typename B::activation_type;
  using value = typename B::value_type;
  using context = typename B::context;
  static constexpr std::int64_t width = T.in[1];
  static constexpr std::int64_t memory = T.in[0] - Queries;
  template <std::int64_t Times>
  using product = typename B::template linear<linear_geometry{.in = width,
                                                              .out = Times* width,
                                                              .bias = Bias,
                                                              .relu = false,
                                                              .input_gradient = T.input_gradient,
                                                              .mask_input = false,
                                                              .parameter_gradient = T.parameter_gradient}>;
  static constexpr std::int64_t square = width * width;
  static constexpr std::int64_t biases = 3 * square;
  static constexpr std::int64_t query_elements = Queries * width;

 public:
  /// The rows of a sample lie between those of others, so that the products take one sample at a time.
  cross_projection_op(context& c, std::int64_t samples) : samples_(samples), queries_(c, Queries), memory_(c, memory) {}
  void set_samples(std::int64_t samples) noexcept { samples_ = samples; }

  void forward(context& c, const pass&, const activation* x, const activation* p, activation* y) {
    for (std::int64_t s = 0; s < samples_; ++s, x += T.in.size(), y += T.out.size()) {
      queries_.forward(c, x, p, p + biases, y);
      memory_.forward(c, x + query_elements, p + square, p + biases + width, y + query_elements);
    }
  }

  void backward(context& c, const pass&, const backward_arguments<B>& a) {
    if constexpr (T.parameter_gradient)
      if (samples_ == 0 && !a.accumulate) B::clear(c, biases + (Bias ? 3 * width : 0), a.gradients);
    for (std::int64_t s = 0; s < samples_; ++s) {
      const activation* const x = a.x + s * T.in.size();
      activation* const dy = a.dy + s * T.out.size();
      activation* const dx = T.input_gradient ? a.dx + s * T.in.size() : nullptr;
      const bool accumulate = a.accumulate || s > 0;
      const auto gradient = [&](std::int64_t at) { return T.parameter_gradient ? a.gradients + at : nullptr; };
      queries_.backward(c, x, dy, a.parameters, dx, gradient(0), gradient(biases), accumulate);
      memory_.backward(c, x + query_elements, dy + query_elements, a.parameters + square,
                       T.input_gradient ? dx + query_elements : nullptr, gradient(square), gradient(biases + width),
                       accumulate);
    }
  }

  [[nodiscard]] static constexpr std::int64_t physical(int parameter, std::int64_t index) {
    if (parameter != 0) return index;
    const std::int64_t out = index / width;
    return out < width ? product<1>::weight_offset(out, index % width)
                       : square + product<2>::weight_offset(out - width, index % width);
  }

 private:
  std::int64_t samples_;
  product<1> queries_;
  product<2> memory_;
};

}  // namespace lockstep::detail
