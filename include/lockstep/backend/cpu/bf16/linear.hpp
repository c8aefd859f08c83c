// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <cstdint>

#include <lockstep/backend/cpu/bf16/context.hpp>
#include <lockstep/backend/cpu/bf16/element.hpp>
#include <lockstep/backend/cpu/bf16/elementwise.hpp>
#include <lockstep/backend/cpu/bf16/layer_runner.hpp>
#include <lockstep/backend/geometry.hpp>
#include <lockstep/core/tensor.hpp>

namespace lockstep::cpu_backend::bf16 {

/// Fully connected products, weights in PyTorch's order.
template <linear_geometry G>
class linear {
 public:
  linear(context& c, std::int64_t samples)
      : samples_(samples), runner_(c, layer_shape::product(G), samples), product_(masks ? samples * G.in : 0) {}
  void set_samples(std::int64_t samples) noexcept {
    samples_ = samples;
    runner_.set_samples(samples);
  }

  /// Position of PyTorch's weight[o][i] in the flat range.
  [[nodiscard]] static constexpr std::int64_t weight_offset(std::int64_t o, std::int64_t i) { return o * G.in + i; }

  /// y (n x out) = x (n x in) w^T + b, then relu if G.relu.
  void forward(context& c, const element* x, const element* w, const element* b, element* y) {
    runner_.forward(c, x, w, b, y);
  }

  /// dw (+)= dy^T x and db (+)= column sums of dy when G.parameter_gradient, and dx = dy w when G.input_gradient; dx
  /// may be x.
  void backward(context& c, const element* x, const element* dy, const element* w, element* dx, float* dw, float* db,
                bool accumulate) {
    if constexpr (G.parameter_gradient) runner_.backward_parameters(c, x, dy, dw, db, accumulate);
    if constexpr (masks) {
      runner_.backward_input(c, dy, w, product_.data());
      relu_backward(samples_ * G.in, x, product_.data(), dx);
    } else if constexpr (G.input_gradient) {
      runner_.backward_input(c, dy, w, dx);
    }
  }

 private:
  static constexpr bool masks = G.input_gradient && G.mask_input;

  std::int64_t samples_;
  layer_runner runner_;
  aligned_buffer<element> product_;  ///< dx may be x, which the mask reads after the product
};

}  // namespace lockstep::cpu_backend::bf16
