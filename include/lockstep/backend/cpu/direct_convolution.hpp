// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <algorithm>
#include <cstdint>
#include <optional>
#include <type_traits>

#include <lockstep/backend/cpu/column_sums.hpp>
#include <lockstep/backend/cpu/context.hpp>
#include <lockstep/backend/cpu/elementwise.hpp>
#include <lockstep/backend/cpu/narrow_convolution.hpp>
#include <lockstep/backend/cpu/narrow_winograd.hpp>
#include <lockstep/backend/cpu/onednn_convolution.hpp>
#include <lockstep/backend/cpu/pieces.hpp>
#include <lockstep/backend/cpu/weight_order.hpp>
#include <lockstep/backend/geometry.hpp>
#include <lockstep/core/config.hpp>

namespace lockstep::cpu_backend {

/// Two-dimensional convolution by oneDNN, or by our own kernels where there are few input channels: activations
/// channels-last, weights in a given order, which our own kernels want to be PyTorch's. The geometry is a value here,
/// so that a network of many convolutions compiles this code once.
class direct_convolution_runner {
 public:
  [[gnu::cold]] direct_convolution_runner(context& c, const convolution_geometry& geometry, std::int64_t samples,
                                          weight_order order = weight_order::output_major)
      : g_(geometry), samples_(samples) {
    build(c, order);
  }

  /// Sets the number of samples of the next passes, at most the number given to the constructor.
  void set_samples(std::int64_t samples) noexcept { samples_ = samples; }

  /// y = relu_if(x * w + b).
  void forward(context& c, const float* x, const float* w, const float* b, float* y) {
    if (is_narrow_)
      return with_widest([&]<class V>(std::type_identity<V>) {
        const float* bias = g_.bias ? b : nullptr;
        if (winograd_forward_)
          winograd_forward_->run<V>(samples_, x, w, bias, y);
        else
          narrow_forward_->run<V>(samples_, x, w, bias, y);
      });
    float* const workspace = c.workspace(piece_workspace_);
    onednn_.each(samples_, [&](onednn_convolution& piece, std::int64_t first) {
      piece.forward(c.stream(), workspace, x + first * g_.in_size(), w, b, y + first * g_.out_size());
    });
    // oneDNN's relu would turn a NaN into 0.
    if (g_.relu) relu_forward(c, samples_ * g_.out_size(), y, y);
  }

  /// dw, db (+)= their gradients when g_.parameter_gradient, and dx = its gradient when g_.input_gradient. dy is the
  /// gradient after the relu's mask.
  void backward(context& c, const float* x, const float* dy, const float* w, float* dx, float* dw, float* db,
                bool accumulate) {
    if (g_.parameter_gradient) backward_parameters(c, x, dy, dw, db, accumulate);
    if (g_.input_gradient) backward_input(c, dy, w, dx);
  }

  /// dx = its gradient. The geometry asks for it.
  void backward_input(context& c, const float* dy, const float* w, float* dx) {
    float* const workspace = c.workspace(piece_workspace_);
    onednn_.each(samples_, [&](onednn_convolution& piece, std::int64_t first) {
      piece.backward_input(c.stream(), workspace, dy + first * g_.out_size(), w, dx + first * g_.in_size());
    });
  }

  /// dw, db (+)= their gradients. The geometry asks for them.
  void backward_parameters(context& c, const float* x, const float* dy, float* dw, float* db, bool accumulate) {
    if (is_narrow_)
      return with_widest([&]<class V>(std::type_identity<V>) {
        float* bias = g_.bias ? db : nullptr;
        if (winograd_gradient_)
          winograd_gradient_->run<V>(samples_, x, dy, dw, bias, accumulate);
        else
          narrow_gradient_->run<V>(samples_, x, dy, dw, bias, accumulate);
      });
    float* const fresh_weights = c.workspace(2 * weights_room() + bias_room() + piece_workspace_);
    float* const piece_weights = fresh_weights + weights_room();
    float* const fresh_bias = piece_weights + weights_room();
    float* const workspace = fresh_bias + bias_room();
    // The sum of all pieces is complete before it is added to what is there.
    float* sum = accumulate ? fresh_weights : dw;
    onednn_.each(samples_, [&](onednn_convolution& piece, std::int64_t first) {
      float* to = first == 0 ? sum : piece_weights;
      piece.backward_weights(c.stream(), workspace, x + first * g_.in_size(), dy + first * g_.out_size(), to);
      if (first > 0) add(g_.weight_size(), piece_weights, sum);
    });
    if (accumulate) add(g_.weight_size(), fresh_weights, dw);
    if (!g_.bias) return;
    // Not by oneDNN, which adds all pixels to one float: after 512 x 512 pixels the sum is off by one part in 400.
    column_sums(samples_ * g_.out().height * g_.out().width, g_.out_channels, dy, accumulate ? fresh_bias : db);
    if (accumulate) add(g_.out_channels, fresh_bias, db);
  }

 private:
  static void add(std::int64_t n, const float* LOCKSTEP_RESTRICT from, float* LOCKSTEP_RESTRICT to) {
    for (std::int64_t i = 0; i < n; ++i) to[i] += from[i];
  }
  /// Floats of workspace for a gradient, which end on a cache line.
  static std::int64_t room(std::int64_t n) { return (n + 15) / 16 * 16; }
  [[nodiscard]] std::int64_t weights_room() const { return room(g_.weight_size()); }
  [[nodiscard]] std::int64_t bias_room() const { return room(g_.bias ? g_.out_channels : 0); }

  [[gnu::cold, gnu::noinline]] void build(const context& c, weight_order order) {
    is_narrow_ = narrow::takes(g_) && order == weight_order::output_major &&
                 c.threads() == 1;  // our own kernels run in one thread
    if (is_narrow_ && narrow::takes_winograd(g_)) {
      winograd_forward_.emplace(g_);
      if (g_.parameter_gradient) winograd_gradient_.emplace(g_);
    } else if (is_narrow_) {
      narrow_forward_.emplace(g_);
      if (g_.parameter_gradient) narrow_gradient_.emplace(g_);
    }
    const onednn_passes passes{
        .forward = !is_narrow_, .weights = !is_narrow_ && g_.parameter_gradient, .input = g_.input_gradient};
    if (passes.forward || passes.input)
      onednn_ = pieces<onednn_convolution>(samples_, [&](std::int64_t samples) {
        onednn_convolution made(c.engine(), g_, passes, samples, order);
        piece_workspace_ = (std::max)(piece_workspace_, made.workspace_size());
        return made;
      });
  }

  convolution_geometry g_;
  std::int64_t samples_;
  bool is_narrow_ = false;  ///< forward and weight gradient by our own kernels
  std::optional<narrow::convolution_forward> narrow_forward_;
  std::optional<narrow::weight_gradient> narrow_gradient_;
  std::optional<narrow::winograd_forward> winograd_forward_;
  std::optional<narrow::winograd_gradient> winograd_gradient_;
  pieces<onednn_convolution> onednn_;  ///< the passes that our own kernels do not run
  std::int64_t piece_workspace_ = 0;   ///< floats of workspace that a pass of a piece needs
};

}  // namespace lockstep::cpu_backend
