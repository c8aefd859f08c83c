// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <cstdint>

#include <lockstep/backend/cuda/bias.hpp>
#include <lockstep/backend/cuda/context.hpp>
#include <lockstep/backend/cuda/cublaslt.hpp>
#include <lockstep/backend/cuda/elementwise.hpp>
#include <lockstep/backend/geometry.hpp>

namespace lockstep::cuda_backend {

/// Fully connected products by cuBLASLt for a fixed number of samples. The geometry is a value here, so that a network
/// of many products compiles this code once.
///
/// Our matrices are row-major; read column by column, as cuBLASLt does, each is its own transpose. So y = x w^T is
/// computed as y^T = w x^T, dw = dy^T x as dw^T = x^T dy, and dx = dy w as dx^T = w^T dy^T.
class linear_runner {
 public:
  [[gnu::cold]] linear_runner(context& c, const linear_geometry& g, std::int64_t samples)
      : g_(g), samples_(samples), forward_(c, {.m = g.out, .n = samples, .k = g.in, .transpose_a = true}) {
    if (g_.parameter_gradient) weight_gradient_ = matmul(c, {.m = g.in, .n = g.out, .k = samples, .transpose_b = true});
    if (g_.input_gradient) input_gradient_ = matmul(c, {.m = g.in, .n = samples, .k = g.out});
    // Reserved now, because none can be while work is recorded.
    static_cast<void>(c.workspace(g_.bias && g_.parameter_gradient ? column_sums_workspace(samples_, g_.out) : 0));
    static_cast<void>(room(c, forward_, 0));
    static_cast<void>(room(c, weight_gradient_, g_.parameter_gradient ? weights() : 0));
    static_cast<void>(room(c, input_gradient_, g_.input_gradient && g_.mask_input ? inputs() : 0));
  }

  /// y (n x out) = x (n x in) w^T + b, then relu if g.relu.
  void forward(context& c, const float* x, const float* w, const float* b, float* y) const {
    forward_(c, w, x, y, room(c, forward_, 0).library);
    add_bias_and_relu(c, samples_, g_.out, g_.bias ? b : nullptr, g_.relu, y);
  }

  /// dw (+)= dy^T x and db (+)= column sums of dy when g.parameter_gradient, and dx = dy w when g.input_gradient; dx
  /// may be x.
  void backward(context& c, const float* x, const float* dy, const float* w, float* dx, float* dw, float* db,
                bool accumulate) const {
    if (g_.parameter_gradient) {
      if (g_.bias) column_sums(c, samples_, g_.out, dy, db, accumulate);
      const auto r = room(c, weight_gradient_, accumulate ? weights() : 0);
      weight_gradient_(c, x, dy, accumulate ? r.product : dw, r.library);
      if (accumulate) add(c, weights(), r.product, dw);
    }
    if (g_.input_gradient) {
      // dx itself may lie where x does, which the mask needs.
      const auto r = room(c, input_gradient_, g_.mask_input ? inputs() : 0);
      input_gradient_(c, w, dy, g_.mask_input ? r.product : dx, r.library);
      if (g_.mask_input) relu_backward(c, inputs(), x, r.product, dx);
    }
  }

 private:
  /// The context's workspace: a product that is not yet where it belongs, and what cuBLASLt works in.
  struct places {
    float* product;
    void* library;
  };

  static places room(context& c, const matmul& m, std::int64_t product) {
    const std::int64_t bytes = (product * std::int64_t{sizeof(float)} + 255) / 256 * 256;
    if (bytes + m.workspace_bytes() == 0) return {nullptr, nullptr};
    auto* start = static_cast<char*>(c.workspace(bytes + m.workspace_bytes()));
    return {reinterpret_cast<float*>(start), start + bytes};
  }

  [[nodiscard]] std::int64_t weights() const noexcept { return g_.in * g_.out; }
  [[nodiscard]] std::int64_t inputs() const noexcept { return samples_ * g_.in; }

  linear_geometry g_;
  std::int64_t samples_;
  matmul forward_, weight_gradient_, input_gradient_;
};

/// Fully connected products for a fixed number of samples; weights in PyTorch's order.
template <linear_geometry G>
class linear : public linear_runner {
 public:
  linear(context& c, std::int64_t samples) : linear_runner(c, G, samples) {}

  /// Position of PyTorch's weight[o][i] in the flat range.
  [[nodiscard]] static constexpr std::int64_t weight_offset(std::int64_t o, std::int64_t i) { return o * G.in + i; }
};

}  // namespace lockstep::cuda_backend
