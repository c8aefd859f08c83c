// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <algorithm>
#include <cstdint>
#include <memory>

#include <lockstep/backend/cpu/bf16/context.hpp>
#include <lockstep/backend/cpu/bf16/element.hpp>
#include <lockstep/backend/cpu/bf16/elementwise.hpp>
#include <lockstep/backend/cpu/bf16/layer_passes.hpp>
#include <lockstep/backend/cpu/bf16/layer_shape.hpp>
#include <lockstep/backend/cpu/bf16/ordered_weights.hpp>
#include <lockstep/backend/cpu/elementwise.hpp>
#include <lockstep/backend/cpu/onednn_convolution.hpp>
#include <lockstep/backend/cpu/pieces.hpp>

namespace lockstep::cpu_backend::bf16 {

/// A layer with weights for any number of samples up to that given to the constructor. The shape is a value here, so
/// that a network of many layers compiles this code once.
class layer_runner {
 public:
  [[gnu::cold]] layer_runner(context& c, const layer_shape& shape, std::int64_t samples)
      : shape_(shape), samples_(samples), weights_(std::make_unique<weights_in_orders>()) {
    const onednn_passes passes{.forward = true, .weights = shape.g.parameter_gradient, .input = shape.g.input_gradient};
    pieces_ = pieces<layer_passes>(samples, [&](std::int64_t n) {
      layer_passes made(c.engine(), shape_, passes, n, *weights_);
      piece_workspace_ = (std::max)(piece_workspace_, made.workspace_size());
      return made;
    });
  }

  /// Sets the number of samples of the next passes, at most the number given to the constructor.
  void set_samples(std::int64_t samples) noexcept { samples_ = samples; }

  /// y = relu_if(x * w + b).
  void forward(context& c, const element* x, const element* w, const element* b, element* y) {
    float* const workspace = c.workspace(piece_workspace_);
    pieces_.each(samples_, [&](layer_passes& piece, std::int64_t first) {
      piece.forward(c, workspace, x + first * in_size(), w, b, y + first * out_size());
    });
    // oneDNN's relu would turn a NaN into 0.
    if (shape_.g.relu) relu_forward(samples_ * out_size(), y, y);
  }

  /// dx = its gradient. The shape asks for it.
  void backward_input(context& c, const element* dy, const element* w, element* dx) {
    float* const workspace = c.workspace(piece_workspace_);
    pieces_.each(samples_, [&](layer_passes& piece, std::int64_t first) {
      piece.backward_input(c, workspace, dy + first * out_size(), w, dx + first * in_size());
    });
  }

  /// dw, db (+)= their gradients. The shape asks for them.
  void backward_parameters(context& c, const element* x, const element* dy, float* dw, float* db, bool accumulate) {
    float* const fresh_weights = c.workspace(2 * weights_room() + bias_room() + piece_workspace_);
    float* const piece_weights = fresh_weights + weights_room();
    float* const fresh_bias = piece_weights + weights_room();
    float* const workspace = fresh_bias + bias_room();
    // The sum of all pieces is complete before it is added to what is there.
    float* const sum = accumulate ? fresh_weights : dw;
    pieces_.each(samples_, [&](layer_passes& piece, std::int64_t first) {
      float* const to = first == 0 ? sum : piece_weights;
      piece.backward_weights(c, workspace, x + first * in_size(), dy + first * out_size(), to);
      if (first > 0) add(c, shape_.g.weight_size(), piece_weights, sum);
    });
    if (accumulate) add(c, shape_.g.weight_size(), fresh_weights, dw);
    if (!shape_.g.bias) return;
    column_sums(samples_ * out_size() / shape_.g.out_channels, shape_.g.out_channels, dy, accumulate ? fresh_bias : db);
    if (accumulate) add(c, shape_.g.out_channels, fresh_bias, db);
  }

 private:
  [[nodiscard]] std::int64_t in_size() const { return shape_.g.in_size(); }
  [[nodiscard]] std::int64_t out_size() const { return shape_.g.out_size(); }
  /// Floats of workspace for a gradient, which end on a cache line.
  static std::int64_t room(std::int64_t n) { return (n + 15) / 16 * 16; }
  [[nodiscard]] std::int64_t weights_room() const { return room(shape_.g.weight_size()); }
  [[nodiscard]] std::int64_t bias_room() const { return room(shape_.g.bias ? shape_.g.out_channels : 0); }

  layer_shape shape_;
  std::int64_t samples_;
  std::unique_ptr<weights_in_orders> weights_;  ///< of all pieces; its place stays when this object moves
  pieces<layer_passes> pieces_;
  std::int64_t piece_workspace_ = 0;  ///< floats of workspace that a pass of a piece needs
};

}  // namespace lockstep::cpu_backend::bf16
