// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <cstdint>
#include <type_traits>

#include <lockstep/backend/cpu/column_sums.hpp>
#include <lockstep/backend/cpu/context.hpp>
#include <lockstep/backend/cpu/direct_convolution.hpp>
#include <lockstep/backend/cpu/elementwise.hpp>
#include <lockstep/backend/cpu/simd.hpp>
#include <lockstep/backend/geometry.hpp>
#include <lockstep/core/config.hpp>
#include <lockstep/core/tensor.hpp>

namespace lockstep::cpu_backend {

/// y (rows x columns) += b in every row, then max(0, y) with NaN kept when `with_relu`.
struct add_bias_kernel {
  template <class V, class A>
  static LOCKSTEP_ALWAYS_INLINE void run(std::int64_t rows, std::int64_t columns, const A* LOCKSTEP_RESTRICT b,
                                         bool with_relu, A* LOCKSTEP_RESTRICT y) {
    for (std::int64_t r = 0; r < rows; ++r, y += columns) {
      std::int64_t k = 0;
      for (; k + lanes<V> <= columns; k += lanes<V>) {
        V v;
        load(v, y + k);
        add_from(v, b + k);
        if (with_relu) relu(v);
        store(y + k, v);
      }
      for (; k < columns; ++k) {
        const float v = y[k] + b[k];
        y[k] = static_cast<A>(with_relu && v < 0.F ? 0.F : v);
      }
    }
  }
};

inline void add_bias(std::int64_t rows, std::int64_t columns, const float* b, bool with_relu, float* y) {
  if (!has_avx2()) return add_bias_kernel::run<float_x8>(rows, columns, b, with_relu, y);
  if (has<float_x16>() && columns % lanes<float_x16> == 0)
    run_for<float_x16, add_bias_kernel>(rows, columns, b, with_relu, y);
  else
    run_for<float_x8, add_bias_kernel>(rows, columns, b, with_relu, y);
}

/// Transposed convolution by the passes of the convolution that it transposes, in exchanged roles: the output is that
/// convolution's input gradient, and the gradient of the input its output. Activations channels-last, weights in
/// PyTorch's order. The geometry is a value here, as in direct_convolution_runner.
class transposed_convolution_runner {
 public:
  [[gnu::cold]] transposed_convolution_runner(context& c, const transposed_convolution_geometry& geometry,
                                              std::int64_t samples)
      : g_(geometry),
        samples_(samples),
        convolution_(c, geometry.convolution(), samples),
        fresh_bias_(geometry.bias && geometry.parameter_gradient ? geometry.out_channels : 0) {}

  /// Sets the number of samples of the next passes, at most the number given to the constructor.
  void set_samples(std::int64_t samples) noexcept {
    samples_ = samples;
    convolution_.set_samples(samples);
  }

  void forward(context& c, const float* x, const float* w, const float* b, float* y) {
    convolution_.backward_input(c, x, w, y);
    if (g_.bias)
      add_bias(samples_ * out_pixels(), g_.out_channels, b, g_.relu, y);
    else if (g_.relu)
      relu_forward(c, samples_ * g_.out_size(), y, y);
  }

  /// dw, db (+)= their gradients when g_.parameter_gradient, and dx = its gradient when g_.input_gradient. dy is the
  /// gradient after the relu's mask.
  void backward(context& c, const float* x, const float* dy, const float* w, float* dx, float* dw, float* db,
                bool accumulate) {
    if (g_.parameter_gradient) {
      convolution_.backward_parameters(c, dy, x, dw, nullptr, accumulate);
      if (g_.bias) {
        column_sums(samples_ * out_pixels(), g_.out_channels, dy, accumulate ? fresh_bias_.data() : db);
        if (accumulate) add(c, g_.out_channels, fresh_bias_.data(), db);
      }
    }
    if (g_.input_gradient) convolution_.forward(c, dy, w, nullptr, dx);
  }

 private:
  [[nodiscard]] std::int64_t out_pixels() const { return g_.out().height * g_.out().width; }

  transposed_convolution_geometry g_;
  std::int64_t samples_;
  direct_convolution_runner convolution_;
  aligned_buffer<float> fresh_bias_;
};

template <transposed_convolution_geometry G>
class transposed_convolution : public transposed_convolution_runner {
 public:
  transposed_convolution(context& c, std::int64_t samples) : transposed_convolution_runner(c, G, samples) {}

  /// Position of PyTorch's weight[i][o][h][w] in the flat range.
  [[nodiscard]] static constexpr std::int64_t weight_offset(std::int64_t i, std::int64_t o, std::int64_t h,
                                                            std::int64_t w) {
    return ((i * (G.out_channels / G.groups) + o) * G.kernel.height + h) * G.kernel.width + w;
  }
};

}  // namespace lockstep::cpu_backend
