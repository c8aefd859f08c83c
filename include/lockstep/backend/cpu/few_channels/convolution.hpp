// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <lockstep/core/config.hpp>

#include <cstdint>
#include <optional>
#include <type_traits>

#include <lockstep/backend/cpu/context.hpp>
#include <lockstep/backend/cpu/direct_convolution.hpp>
#include <lockstep/backend/cpu/few_channels/forward.hpp>
#include <lockstep/backend/cpu/few_channels/input_gradient.hpp>
#include <lockstep/backend/cpu/few_channels/shape.hpp>
#include <lockstep/backend/cpu/few_channels/weight_gradient.hpp>
#include <lockstep/backend/cpu/simd.hpp>
#include <lockstep/backend/geometry.hpp>

namespace lockstep::cpu_backend::few_channels {

/// A convolution that `fits`, with weights in PyTorch's order. Runs in one thread, on machines with AVX2; else oneDNN
/// takes its place, as it does for the gradient of the input where that is not slower.
template <convolution_geometry G>
class convolution_runner {
 public:
  [[gnu::cold]] convolution_runner(context& c, const convolution_geometry&, std::int64_t samples)
      : samples_(samples), is_ours_(has_avx2() && c.threads() == 1) {
    if (!is_ours_ || (G.input_gradient && !scatters(G))) onednn_.emplace(c, G, samples);
    if (!is_ours_) return;
    forward_.emplace();
    if constexpr (G.parameter_gradient) weight_gradient_.emplace();
    if constexpr (G.input_gradient && scatters(G)) input_gradient_.emplace();
  }

  /// Sets the number of samples of the next passes, at most the number given to the constructor.
  void set_samples(std::int64_t samples) noexcept {
    samples_ = samples;
    if (onednn_) onednn_->set_samples(samples);
  }

  /// y = relu_if(x * w + b).
  void forward(context& c, const float* x, const float* w, const float* b, float* y) {
    if (!is_ours_) return onednn_->forward(c, x, w, b, y);
    with_vectors<G>(
        [&]<class V>(std::type_identity<V>) { forward_->template run<V>(samples_, x, w, G.bias ? b : nullptr, y); });
  }

  /// dw, db (+)= their gradients when G.parameter_gradient, and dx = its gradient when G.input_gradient. dy is the
  /// gradient after the relu's mask.
  void backward(context& c, const float* x, const float* dy, const float* w, float* dx, float* dw, float* db,
                bool accumulate) {
    if (!is_ours_) return onednn_->backward(c, x, dy, w, dx, dw, db, accumulate);
    if constexpr (G.parameter_gradient)
      with_vectors<G>([&]<class V>(std::type_identity<V>) {
        weight_gradient_->template run<V>(samples_, x, dy, dw, G.bias ? db : nullptr, accumulate);
      });
    if constexpr (G.input_gradient && scatters(G))
      with_widest([&]<class V>(std::type_identity<V>) { input_gradient_->template run<V>(samples_, dy, w, dx); });
    else if constexpr (G.input_gradient)
      onednn_->backward_input(c, dy, w, dx);
  }

 private:
  struct nothing {};

  std::int64_t samples_;
  bool is_ours_;  ///< the machine and the number of threads suit our own kernels
  std::optional<forward_pass<G>> forward_;
  std::optional<std::conditional_t<G.parameter_gradient, weight_gradient<G>, nothing>> weight_gradient_;
  std::optional<std::conditional_t<G.input_gradient && scatters(G), input_gradient<G>, nothing>> input_gradient_;
  std::optional<direct_convolution_runner> onednn_;
};

}  // namespace lockstep::cpu_backend::few_channels
