// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <lockstep/core/config.hpp>

#include <algorithm>
#include <cstdint>
#include <optional>
#include <type_traits>

#include <lockstep/backend/cpu/context.hpp>
#include <lockstep/backend/cpu/direct_convolution.hpp>
#include <lockstep/backend/cpu/simd.hpp>
#include <lockstep/backend/cpu/weight_order.hpp>
#include <lockstep/backend/cpu/weights_version.hpp>
#include <lockstep/backend/cpu/winograd/picture_map.hpp>
#include <lockstep/backend/cpu/winograd/tile_grid.hpp>
#include <lockstep/backend/cpu/winograd/weight_gradient.hpp>
#include <lockstep/backend/geometry.hpp>
#include <lockstep/core/tensor.hpp>

namespace lockstep::cpu_backend::winograd {

/// True where tiles of F save much: for kernels of 3 x 3 with stride 1 and channels in sixteens, unless so much of the
/// tiles lies outside the picture that more than two thirds of the multiplications of a direct sum remain.
template <class F>
[[nodiscard]] constexpr bool fits(const convolution_geometry& g) {
  const extent2 out = g.out();
  const std::int64_t direct = taps * out.height * out.width;
  const std::int64_t left = output_grid<F>(1, out).per_picture() * F::points * F::points;
  return g.kernel == extent2{3} && g.stride == extent2{1} && g.dilation == extent2{1} && g.groups == 1 &&
         g.padding.height <= 2 && g.padding.width <= 2 && g.in_channels % 16 == 0 && g.out_channels % 16 == 0 &&
         3 * left <= 2 * direct;
}

/// Fewer tiles than this do not pay for the weights: transformed they are four times as large (F(4, 3)), and are read
/// once for all tiles.
inline constexpr std::int64_t least_tiles = 12;

/// A convolution that `fits` F, with weights in the order `tap_major`. Runs in one thread, on machines with AVX2, and
/// when there are `least_tiles`; else oneDNN takes its place. The choice and so the bits depend on the number of
/// samples alone. The geometry is a value here, so that a network of many convolutions compiles this code once.
///
/// Weights are transformed when the context has loaded parameters since the last time (`context::loads`).
template <class F>
class convolution_runner {
 public:
  [[gnu::cold]] convolution_runner(context& c, const convolution_geometry& g, std::int64_t samples) : g_(g) {
    least_samples_ = least_samples(g);
    if (!has_avx2() || c.threads() != 1) least_samples_ = samples + 1;
    if (const std::int64_t few = (std::min)(samples, least_samples_ - 1); few > 0)
      direct_.emplace(c, g, few, weight_order::tap_major);
    set_samples(samples);
    if (samples < least_samples_) return;
    forward_.emplace(g.in_channels, g.in, g.out_channels, g.out(), g.padding);
    if (g.input_gradient)
      back_.emplace(g.out_channels, g.out(), g.in_channels, g.in, extent2{2 - g.padding.height, 2 - g.padding.width});
    if (g.parameter_gradient) gradient_.emplace(g, samples);
  }

  /// Floats that an object for `samples` samples keeps, without the workspace that all share.
  [[nodiscard]] static constexpr std::int64_t kept_size(const convolution_geometry& g, std::int64_t samples) {
    if (samples < least_samples(g)) return 0;
    std::int64_t size = picture_map<F>::weights_size(g.in_channels, g.out_channels);
    if (g.input_gradient) size += picture_map<F>::weights_size(g.out_channels, g.in_channels);
    return g.parameter_gradient ? size + weight_gradient<F>::kept_size(g, samples) : size;
  }

  /// Sets the number of samples of the next passes, at most the number given to the constructor.
  void set_samples(std::int64_t samples) noexcept {
    samples_ = samples;
    if (takes_direct()) direct_->set_samples(samples);
  }

  /// y = relu_if(x * w + b).
  void forward(context& c, const float* x, const float* w, const float* b, float* y) {
    if (takes_direct()) return direct_->forward(c, x, w, b, y);
    float* const workspace = c.workspace(forward_->workspace_size());
    with_widest([&]<class V>(std::type_identity<V>) {
      if (forward_weights_.changed(c, w)) forward_->template take<V>(w);
      forward_->template run<V>(workspace, samples_, x, g_.bias ? b : nullptr, g_.relu, y);
    });
  }

  /// dw, db (+)= their gradients when g.parameter_gradient, and dx = its gradient when g.input_gradient. dy is the
  /// gradient after the relu's mask.
  void backward(context& c, const float* x, const float* dy, const float* w, float* dx, float* dw, float* db,
                bool accumulate) {
    if (takes_direct()) return direct_->backward(c, x, dy, w, dx, dw, db, accumulate);
    with_widest([&]<class V>(std::type_identity<V>) {
      if (gradient_)
        gradient_->template run<V>(c.workspace(gradient_->workspace_size()), samples_, x, dy, dw,
                                   g_.bias ? db : nullptr, accumulate);
      if (!back_) return;
      const std::int64_t turned = g_.weight_size();
      if (back_weights_.changed(c, w)) {
        float* const to = c.workspace(turned);
        turn_weights(g_.in_channels, g_.out_channels, w, to);
        back_->template take<V>(to);
      }
      back_->template run<V>(c.workspace(back_->workspace_size()), samples_, dy, nullptr, false, dx);
    });
  }

 private:
  /// Number of samples that have `least_tiles`.
  [[nodiscard]] static constexpr std::int64_t least_samples(const convolution_geometry& g) {
    const std::int64_t tiles = output_grid<F>(1, g.out()).per_picture();
    return (least_tiles + tiles - 1) / tiles;
  }

  [[nodiscard]] bool takes_direct() const noexcept { return samples_ < least_samples_; }

  convolution_geometry g_;
  std::int64_t samples_ = 0;
  std::int64_t least_samples_ = 1;  ///< that do not take `direct_`
  std::optional<picture_map<F>> forward_, back_;
  std::optional<weight_gradient<F>> gradient_;
  weights_version forward_weights_, back_weights_;  ///< of those that have been transformed
  std::optional<direct_convolution_runner> direct_;
};

}  // namespace lockstep::cpu_backend::winograd
