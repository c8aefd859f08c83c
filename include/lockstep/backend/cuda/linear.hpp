// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <cstdint>
#include <type_traits>

#include <lockstep/backend/cuda/bias.hpp>
#include <lockstep/backend/cuda/context.hpp>
#include <lockstep/backend/cuda/cublaslt.hpp>
#include <lockstep/backend/cuda/elementwise.hpp>
#include <lockstep/backend/cuda/masked_gradient.hpp>
#include <lockstep/backend/cuda/narrow_backward.hpp>
#include <lockstep/backend/cuda/staging.hpp>
#include <lockstep/backend/geometry.hpp>

namespace lockstep::cuda_backend {

/// Fully connected products of elements A by cuBLASLt for a fixed number of samples. The geometry is a value here, so
/// that a network of many products compiles this code once.
///
/// Our matrices are row-major; read column by column, as cuBLASLt does, each is its own transpose. So y = x w^T is
/// computed as y^T = w x^T, dw = dy^T x as dw^T = x^T dy, and dx = dy w as dx^T = w^T dy^T.
template <class A>
class linear_runner {
 public:
  [[gnu::cold]] linear_runner(context& c, const linear_geometry& g, std::int64_t samples) : g_(g), samples_(samples) {
    const auto product = [&](matmul_shape shape, matmul_epilogue epilogue, bool wanted) {
      shape.factors = library_type<A>;
      return wanted ? matmul::with_epilogue_if_offered(c, shape, epilogue) : matmul(c, shape);
    };
    // A relu's pass adds the bias (bias.hpp), unless elements are rounded: then the product adds it before rounding.
    forward_ = product({.m = g.out, .n = samples, .k = g.in, .transpose_a = true, .result = library_type<A>},
                       matmul_epilogue::add_vector, g.bias && (!g.relu || !std::is_same_v<A, float>));
    if (g.parameter_gradient && !backward_in_one_pass())
      weight_gradient_ = product({.m = g.in, .n = g.out, .k = samples, .transpose_b = true}, matmul_epilogue::sums_of_b,
                                 g.bias && g.in * g.out * samples <= most_for_both);
    if (g.input_gradient && !masks_in_one_pass())
      input_gradient_ =
          product({.m = g.in, .n = samples, .k = g.out, .result = library_type<A>}, matmul_epilogue::none, false);
  }

  /// y (n x out) = x (n x in) w^T + b, then relu if g.relu.
  void forward(context& c, const A* x, const A* w, const A* b, A* y) const {
    const bool fused = forward_.epilogue() != matmul_epilogue::none;
    staging s(forward_.workspace_bytes());
    const auto x_room = s.room(x, inputs());
    const auto w_room = s.room(w, weights());
    const auto y_room = s.room(y, outputs());
    const auto b_room = fused ? s.room(b, g_.out) : staging::no_room;
    s.open(c);
    const A* const bias = fused ? s.load(c, b_room, g_.out, b) : nullptr;
    forward_(c, s.load(c, w_room, weights(), w), s.load(c, x_room, inputs(), x), s.place(y_room, y), s.library(), bias);
    s.store(c, y_room, outputs(), y);
    add_bias_and_relu(c, samples_, g_.out, g_.bias && !fused ? b : nullptr, g_.relu, y);
  }

  /// dw (+)= dy^T x and db (+)= column sums of dy when g.parameter_gradient, and dx = dy w when g.input_gradient; dx
  /// may be x.
  void backward(context& c, const A* x, const A* dy, const A* w, A* dx, float* dw, float* db, bool accumulate) const {
    if (backward_in_one_pass()) {
      if (g_.bias) column_sums(c, samples_, g_.out, dy, db, accumulate);
      return narrow_backward(c, samples_, g_.in, g_.out, dy, w, x, dx, dw, accumulate);
    }
    if (g_.parameter_gradient) {
      if (g_.bias && !gives_both_gradients()) column_sums(c, samples_, g_.out, dy, db, accumulate);
      backward_parameters(c, x, dy, dw, db, accumulate);
    }
    if (g_.input_gradient) backward_input(c, x, dy, w, dx);
  }

 private:
  /// Multiplications up to which one product makes both gradients. Beyond, the launch saved is nothing beside the
  /// product, and the sums in its epilogue have been seen to slow it down
  /// (github.com/NVIDIA/CUDALibrarySamples/issues/90).
  static constexpr std::int64_t most_for_both = std::int64_t{1} << 26U;

  [[nodiscard]] bool backward_in_one_pass() const noexcept { return takes_narrow_backward<A>(g_, samples_); }

  [[nodiscard]] bool gives_both_gradients() const noexcept {
    return weight_gradient_.epilogue() != matmul_epilogue::none;
  }

  /// dw (+)= its gradient, and db too where cuBLASLt gives both. With `accumulate` the same product writes complete
  /// gradients to the workspace, and they are then added.
  void backward_parameters(context& c, const A* x, const A* dy, float* dw, float* db, bool accumulate) const {
    const bool both = gives_both_gradients();
    staging s(weight_gradient_.workspace_bytes());
    const auto x_room = s.room(x, inputs());
    const auto dy_room = s.room(dy, outputs());
    const auto dw_room = s.room(dw, weights(), accumulate);
    const auto db_room = both ? s.room(db, g_.out, accumulate) : staging::no_room;
    s.open(c);
    float* const fresh_w = s.place(dw_room, dw);
    float* const fresh_b = s.place(db_room, db);
    weight_gradient_(c, s.load(c, x_room, inputs(), x), s.load(c, dy_room, outputs(), dy), fresh_w, s.library(),
                     nullptr, both ? fresh_b : nullptr);
    const auto deliver = [&](std::int64_t room, std::int64_t n, const float* fresh, float* to) {
      if (accumulate)
        add(c, n, fresh, to);
      else
        s.store(c, room, n, to);
    };
    deliver(dw_room, weights(), fresh_w, dw);
    if (both) deliver(db_room, g_.out, fresh_b, db);
  }

  [[nodiscard]] bool masks_in_one_pass() const noexcept { return g_.mask_input && g_.out <= most_masked_outputs<A>; }

  void backward_input(context& c, const A* x, const A* dy, const A* w, A* dx) const {
    if (masks_in_one_pass()) return masked_input_gradient(c, samples_, g_.in, g_.out, dy, w, x, dx);
    staging s(input_gradient_.workspace_bytes());
    const auto dy_room = s.room(dy, outputs());
    const auto w_room = s.room(w, weights());
    // dx may be x, which the mask reads after the product is written.
    const auto dx_room = s.room(dx, inputs(), g_.mask_input);
    s.open(c);
    A* product = s.place(dx_room, dx);
    input_gradient_(c, s.load(c, w_room, weights(), w), s.load(c, dy_room, outputs(), dy), product, s.library());
    if (g_.mask_input)
      relu_backward(c, inputs(), x, product, dx);
    else
      s.store(c, dx_room, inputs(), dx);
  }

  [[nodiscard]] std::int64_t weights() const noexcept { return g_.in * g_.out; }
  [[nodiscard]] std::int64_t inputs() const noexcept { return samples_ * g_.in; }
  [[nodiscard]] std::int64_t outputs() const noexcept { return samples_ * g_.out; }

  linear_geometry g_;
  std::int64_t samples_;
  matmul forward_, weight_gradient_, input_gradient_;  ///< the first two may include the bias or its gradient
};

/// Fully connected products of elements A for a fixed number of samples. The weights' gradients are float32; weights
/// lie in PyTorch's order.
template <class A, linear_geometry G>
class linear : public linear_runner<A> {
 public:
  linear(context& c, std::int64_t samples) : linear_runner<A>(c, G, samples) {}

  /// Position of PyTorch's weight[o][i] in the flat range.
  [[nodiscard]] static constexpr std::int64_t weight_offset(std::int64_t o, std::int64_t i) { return o * G.in + i; }
};

}  // namespace lockstep::cuda_backend
