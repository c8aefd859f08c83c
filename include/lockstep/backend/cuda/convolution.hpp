// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <lockstep/core/config.hpp>

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#include <cudnn.h>

#include <lockstep/backend/cuda/bias.hpp>
#include <lockstep/backend/cuda/context.hpp>
#include <lockstep/backend/cuda/convolution_plan.hpp>
#include <lockstep/backend/cuda/cudnn.hpp>
#include <lockstep/backend/cuda/device.hpp>
#include <lockstep/backend/cuda/elementwise.hpp>
#include <lockstep/backend/cuda/staging.hpp>
#include <lockstep/backend/cuda/transfer.hpp>
#include <lockstep/backend/geometry.hpp>
#include <lockstep/backend/replica_place.hpp>
#include <lockstep/core/error.hpp>
#include <lockstep/core/shape.hpp>

namespace lockstep::cuda_backend {

/// Two-dimensional convolution of elements A by cuDNN for a fixed number of samples: activations channels-last, weights
/// as `convolution::weight_offset` says. The geometry is a value here, so that a network of many convolutions compiles
/// this code once.
template <class A>
class convolution_runner {
 public:
  /// Throws backend_error where cuDNN has no engine for it.
  [[gnu::cold]] convolution_runner(context& c, const convolution_geometry& g, std::int64_t samples)
      : g_(g), samples_(samples) {
    build(c);
    reserve(c);
  }

  /// y = relu_if(x * w + b). The first call may wait for the device.
  void forward(context& c, const A* x, const A* w, const A* b, A* y) {
    if (forward_.size() > 1) try_relu(c, x, w, y);
    product(c, x, w, b, y);
    const convolution_pass done = forward_.front().pass;
    add_bias_and_relu(c, out_pixels(), g_.out_channels, g_.bias && done == convolution_pass::forward ? b : nullptr,
                      g_.relu && done != convolution_pass::forward_bias_and_relu, y);
  }

  /// dw, db (+)= their gradients when g.parameter_gradient, and dx when g.input_gradient. dy is the gradient after the
  /// relu's mask.
  void backward(context& c, const A* x, const A* dy, const A* w, A* dx, float* dw, float* db, bool accumulate) {
    if (g_.parameter_gradient) {
      if (g_.bias) column_sums(c, out_pixels(), g_.out_channels, dy, db, accumulate);
      backward_weights(c, x, dy, dw, accumulate);
    }
    if (g_.input_gradient) backward_data(c, dy, w, dx);
  }

 private:
  /// cuDNN writes weight gradients in elements A: to the workspace, to be converted, if these are not float32.
  static constexpr bool rounded = !std::is_same_v<A, float>;

  struct forward_plan {
    convolution_pass pass;
    convolution_plan plan;
  };

  /// Runs the first forward plan. The bias may lie in the host's memory if `bias_on_host`.
  void product(context& c, const A* x, const A* w, const A* b, A* y, bool bias_on_host = false) {
    auto& [pass, plan] = forward_.front();
    const bool biased = pass != convolution_pass::forward;
    staging s(plan.bytes());
    const auto x_room = s.room(x, x_size());
    const auto w_room = s.room(w, g_.weight_size());
    const auto y_room = s.room(y, y_size());
    const auto b_room = biased ? s.room(b, g_.out_channels, bias_on_host) : staging::no_room;
    s.open(c);
    plan.run(handle(c),
             {address(s.load(c, x_room, x_size(), x)), address(s.load(c, w_room, g_.weight_size(), w)),
              s.place(y_room, y), biased ? address(s.load(c, b_room, g_.out_channels, b)) : nullptr},
             s.library(), "a convolution to start (cudnnBackendExecute)");
    s.store(c, y_room, y_size(), y);
  }

  /// Keeps the plan with a relu if its relu leaves a NaN one, else the other plan. The graph asks for such a relu, but
  /// cuDNN's manuals promise it for few engines. A relu that loses a NaN would hide that a network has diverged. With a
  /// bias of NaN all of y must be NaN. Overwrites y.
  [[gnu::cold]] void try_relu(context& c, const A* x, const A* w, A* y) {
    std::vector<A> values(static_cast<std::size_t>(g_.out_channels),
                          static_cast<A>(std::numeric_limits<float>::quiet_NaN()));
    product(c, x, w, values.data(), y, true);
    copy<A>(c, g_.out_channels, y, values.data());
    c.finish();  // the work reads and writes `values`
    const bool kept =
        std::all_of(values.begin(), values.end(), [](A value) { return std::isnan(static_cast<float>(value)); });
    forward_.erase(forward_.begin() + (kept ? 1 : 0));
  }

  void backward_weights(context& c, const A* x, const A* dy, float* dw, bool accumulate) {
    staging s(weights_.bytes());
    const auto x_room = s.room(x, x_size());
    const auto dy_room = s.room(dy, y_size());
    // With `accumulate` cuDNN writes the complete gradient to the workspace; it is then added to dw.
    const bool apart = accumulate || rounded;
    A* const direct = apart ? nullptr : in_place(dw);
    const auto dw_room = s.room(direct, g_.weight_size(), apart);
    s.open(c);
    A* const to = s.place(dw_room, direct);
    weights_.run(handle(c),
                 {address(s.load(c, x_room, x_size(), x)), to, address(s.load(c, dy_room, y_size(), dy)), nullptr},
                 s.library(), "a convolution's weight gradient to start (cudnnBackendExecute)");
    if (accumulate)
      add(c, g_.weight_size(), to, dw);
    else if (apart)
      convert(c, g_.weight_size(), to, dw);
    else
      s.store(c, dw_room, g_.weight_size(), direct);
  }

  /// Where cuDNN can write the weights' gradient directly: dw when A is float32, else nowhere.
  static A* in_place([[maybe_unused]] float* dw) {
    if constexpr (rounded)
      return nullptr;
    else
      return dw;
  }

  void backward_data(context& c, const A* dy, const A* w, A* dx) {
    staging s(data_.bytes());
    const auto dy_room = s.room(dy, y_size());
    const auto w_room = s.room(w, g_.weight_size());
    const auto dx_room = s.room(dx, x_size());
    s.open(c);
    data_.run(handle(c),
              {s.place(dx_room, dx), address(s.load(c, w_room, g_.weight_size(), w)),
               address(s.load(c, dy_room, y_size(), dy)), nullptr},
              s.library(), "a convolution's input gradient to start (cudnnBackendExecute)");
    s.store(c, dx_room, x_size(), dx);
  }

  [[gnu::cold, gnu::noinline]] void build(context& c) {
    const handle_device device{handle(c), memory_of_device()};
    // Tensor cores take bfloat16 tensors as they are. Float32 factors are rounded to TF32 at most: cuDNN rounds no
    // further by itself.
    const bool rounds = rounded || c.rounding() != factor_rounding::none;
    const auto planned = [&](convolution_pass pass) {
      return convolution_graph(g_, samples_, cudnn_type<A>).plan(device, pass, rounds);
    };
    const auto needed = [&](convolution_pass pass, const char* what) {
      convolution_plan plan = planned(pass);
      if (!plan)
        throw backend_error("cuDNN", what, "no engine for " + text(), "see that all libraries of cuDNN 9 are found");
      return plan;
    };
    const auto offered = [&](convolution_pass pass) {
      convolution_plan plan = planned(pass);
      const bool there{plan};
      if (there) forward_.push_back({pass, std::move(plan)});
      return there;
    };
    if (g_.bias && g_.relu) static_cast<void>(offered(convolution_pass::forward_bias_and_relu));
    // Our kernel adds a bias in the relu's pass, but where elements are rounded the plan adds it before rounding.
    const bool bias = g_.bias && (!g_.relu || rounded) && offered(convolution_pass::forward_bias);
    if (!bias) forward_.push_back({convolution_pass::forward, needed(convolution_pass::forward, "a convolution")});
    if (g_.parameter_gradient)
      weights_ = needed(convolution_pass::weight_gradient, "the weight gradient of a convolution");
    if (g_.input_gradient) data_ = needed(convolution_pass::input_gradient, "the input gradient of a convolution");
  }

  /// Makes the workspace large enough for every pass over aligned activations, because it cannot grow while work is
  /// recorded.
  [[gnu::cold]] void reserve(context& c) const {
    const auto room_for = [&](const convolution_plan& plan) {
      staging s(plan.bytes());
      constexpr const A* any = nullptr;
      static_cast<void>(s.room(any, g_.weight_size(), true));
      static_cast<void>(s.room(any, g_.out_channels, true));
      s.open(c);
    };
    for (const forward_plan& way : forward_) room_for(way.plan);
    room_for(weights_);
    room_for(data_);
    if (g_.bias && g_.parameter_gradient)
      static_cast<void>(c.workspace(column_sums_workspace(out_pixels(), g_.out_channels)));
  }

  [[nodiscard]] std::string text() const {
    return std::to_string(samples_) + " pictures of " + to_string(dims{g_.in_channels, g_.in.height, g_.in.width});
  }

  [[nodiscard]] static cudnnHandle_t handle(context& c) { return c.template library<cudnn_library>().handle(); }
  /// The graph API takes addresses of inputs, too, as void*.
  [[nodiscard]] static void* address(const A* p) { return const_cast<A*>(p); }
  [[nodiscard]] std::int64_t x_size() const { return samples_ * g_.in_size(); }
  [[nodiscard]] std::int64_t y_size() const { return samples_ * g_.out_size(); }
  [[nodiscard]] std::int64_t out_pixels() const { return y_size() / g_.out_channels; }

  convolution_geometry g_;
  std::int64_t samples_;
  std::vector<forward_plan> forward_;  ///< one; before the first call maybe two: with a relu, then without
  convolution_plan weights_, data_;
};

/// Two-dimensional convolution of elements A for a fixed number of samples. The weights' gradients are float32, rounded
/// to A on the way. Weights lie as (out, height, width, in / groups), channels-last.
template <class A, convolution_geometry G>
class convolution : public convolution_runner<A> {
 public:
  convolution(context& c, std::int64_t samples) : convolution_runner<A>(c, G, samples) {}

  /// Position of PyTorch's weight[o][i][h][w] in the flat range.
  [[nodiscard]] static constexpr std::int64_t weight_offset(std::int64_t o, std::int64_t i, std::int64_t h,
                                                            std::int64_t w) {
    return ((o * G.kernel.height + h) * G.kernel.width + w) * (G.in_channels / G.groups) + i;
  }
};

}  // namespace lockstep::cuda_backend
