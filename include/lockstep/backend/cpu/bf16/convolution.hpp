// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <cstdint>

#include <lockstep/backend/cpu/bf16/context.hpp>
#include <lockstep/backend/cpu/bf16/element.hpp>
#include <lockstep/backend/cpu/bf16/elementwise.hpp>
#include <lockstep/backend/cpu/bf16/layer_runner.hpp>
#include <lockstep/backend/cpu/elementwise.hpp>
#include <lockstep/backend/cpu/simd.hpp>
#include <lockstep/backend/cpu/transposed_convolution.hpp>
#include <lockstep/backend/cpu/weight_order.hpp>
#include <lockstep/backend/geometry.hpp>

namespace lockstep::cpu_backend::bf16 {

/// Two-dimensional convolution, activations channels-last, weights in PyTorch's order.
template <convolution_geometry G>
class convolution {
 public:
  convolution(context& c, std::int64_t samples) : runner_(c, {.g = G}, samples) {}
  void set_samples(std::int64_t samples) noexcept { runner_.set_samples(samples); }

  /// Position of PyTorch's weight[o][i][h][w] in the flat range.
  [[nodiscard]] static constexpr std::int64_t weight_offset(std::int64_t o, std::int64_t i, std::int64_t h,
                                                            std::int64_t w) {
    return cpu_backend::weight_offset(G, weight_order::output_major, o, i, h, w);
  }

  /// y = relu_if(x * w + b).
  void forward(context& c, const element* x, const element* w, const element* b, element* y) {
    runner_.forward(c, x, w, b, y);
  }
  /// dw, db (+)= their gradients when G.parameter_gradient, and dx = its gradient when G.input_gradient. dy is the
  /// gradient after the relu's mask.
  void backward(context& c, const element* x, const element* dy, const element* w, element* dx, float* dw, float* db,
                bool accumulate) {
    if constexpr (G.parameter_gradient) runner_.backward_parameters(c, x, dy, dw, db, accumulate);
    if constexpr (G.input_gradient) runner_.backward_input(c, dy, w, dx);
  }

 private:
  layer_runner runner_;
};

/// Transposed convolution by the passes of the convolution that it transposes; see cpu_backend::transposed_convolution.
template <transposed_convolution_geometry G>
class transposed_convolution {
 public:
  transposed_convolution(context& c, std::int64_t samples)
      : samples_(samples), runner_(c, {.g = G.convolution()}, samples) {}
  void set_samples(std::int64_t samples) noexcept {
    samples_ = samples;
    runner_.set_samples(samples);
  }

  /// Position of PyTorch's weight[i][o][h][w] in the flat range.
  [[nodiscard]] static constexpr std::int64_t weight_offset(std::int64_t i, std::int64_t o, std::int64_t h,
                                                            std::int64_t w) {
    return cpu_backend::transposed_convolution<G>::weight_offset(i, o, h, w);
  }

  void forward(context& c, const element* x, const element* w, const element* b, element* y) {
    runner_.backward_input(c, x, w, y);
    if constexpr (G.bias)
      run_for<float_x16, add_bias_kernel>(samples_ * out_pixels, G.out_channels, b, G.relu, y);
    else if constexpr (G.relu)
      relu_forward(samples_ * G.out_size(), y, y);
  }
  void backward(context& c, const element* x, const element* dy, const element* w, element* dx, float* dw, float* db,
                bool accumulate) {
    if constexpr (G.parameter_gradient) {
      runner_.backward_parameters(c, dy, x, dw, nullptr, accumulate);
      if constexpr (G.bias) {
        float* const sums = accumulate ? c.floats<0>(G.out_channels) : db;
        column_sums(samples_ * out_pixels, G.out_channels, dy, sums);
        if (accumulate) add(c, G.out_channels, sums, db);
      }
    }
    if constexpr (G.input_gradient) runner_.forward(c, dy, w, nullptr, dx);
  }

 private:
  static constexpr std::int64_t out_pixels = G.out().height * G.out().width;

  std::int64_t samples_;
  layer_runner runner_;
};

}  // namespace lockstep::cpu_backend::bf16
