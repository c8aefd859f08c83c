// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <cstdint>

#include <lockstep/backend/geometry.hpp>
#include <lockstep/nn/layer.hpp>

/// \file
/// What layers that multiply rows by a matrix of weights have in common.

namespace lockstep::detail {

/// The features of a row, of which a sample has one, or T.
[[nodiscard]] constexpr std::int64_t row_features(const dims& sample) {
  return sample.rank == 2 ? sample[1] : sample.size();
}
/// As many rows of `features`.
[[nodiscard]] constexpr dims with_features(const dims& sample, std::int64_t features) {
  return sample.rank == 2 ? dims{sample[0], features} : dims{features};
}

inline constexpr layer_traits linear_traits{.takes_any_order = true,
                                            .writes_plain_order = true,
                                            .fuses_relu = true,
                                            .masks_input = true,
                                            .rows = row_rule::apart,
                                            .backward_overwrites_input = true,
                                            .backward_keeps_gradient = true,
                                            .skips_parameter_gradient = true};

/// y = x W^T + b on each row, with W (out, in) and after it b in the layer's range.
template <class B, node_traits T, bool Bias>
class linear_op {
  using activation = typename B::activation_type;
  using context = typename B::context;
  static constexpr std::int64_t in = row_features(T.in);
  static constexpr std::int64_t out = row_features(T.out);
  static constexpr std::int64_t rows = T.in.size() / in;
  using product = typename B::template linear<linear_geometry{.in = in,
                                                              .out = out,
                                                              .bias = Bias,
                                                              .relu = T.relu,
                                                              .input_gradient = T.input_gradient,
                                                              .mask_input = T.mask_input,
                                                              .parameter_gradient = T.parameter_gradient}>;
  static constexpr std::int64_t weights = in * out;

 public:
  linear_op(context& c, std::int64_t samples) : samples_(samples), product_(c, samples * rows) {}

  void set_samples(std::int64_t samples) noexcept
    requires takes_fewer_samples<product>
  {
    samples_ = samples;
    product_.set_samples(samples * rows);
  }

  void forward(context& c, const pass&, const activation* x, const activation* parameters, activation* y) {
    product_.forward(c, x, parameters, parameters + weights, y);
  }

  void backward(context& c, const pass&, const backward_arguments<B>& a) {
    if constexpr (T.relu && !T.output_gradient_masked) B::relu_backward(c, samples_ * rows * out, a.y, a.dy, a.dy);
    product_.backward(c, a.x, a.dy, a.parameters, a.dx, a.gradients,
                      T.parameter_gradient ? a.gradients + weights : nullptr, a.accumulate);
  }

  [[nodiscard]] static constexpr std::int64_t physical(int parameter, std::int64_t index) {
    if (parameter != 0) return index;
    return product::weight_offset(index / in, feature(index % in));
  }

 private:
  /// Where feature i of a flattened picture (C, H, W) lies when the picture is channels-last.
  static constexpr std::int64_t feature(std::int64_t i) {
    if constexpr (T.picture.rank == 3) {
      constexpr std::int64_t pixels = T.picture.extent[1] * T.picture.extent[2];
      return i % pixels * T.picture.extent[0] + i / pixels;
    } else {
      return i;
    }
  }

  std::int64_t samples_;
  product product_;
};

/// The same for a layer whose users see the weight as (in, out). It lies as the backend wants it in either case.
template <class B, node_traits T, bool Bias>
class transposed_linear_op : public linear_op<B, T, Bias> {
 public:
  using linear_op<B, T, Bias>::linear_op;

  [[nodiscard]] static constexpr std::int64_t physical(int parameter, std::int64_t index) {
    if (parameter != 0) return index;
    constexpr std::int64_t in = row_features(T.in);
    constexpr std::int64_t out = row_features(T.out);
    return linear_op<B, T, Bias>::physical(0, index % out * in + index / out);
  }
};

}  // namespace lockstep::detail
