// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <optional>
#include <type_traits>
#include <vector>

#include <cudnn.h>

#include <lockstep/backend/cuda/bias.hpp>
#include <lockstep/backend/cuda/context.hpp>
#include <lockstep/backend/cuda/convolution_plan.hpp>
#include <lockstep/backend/cuda/cudnn.hpp>
#include <lockstep/backend/cuda/elementwise.hpp>
#include <lockstep/backend/cuda/transfer.hpp>
#include <lockstep/backend/geometry.hpp>
#include <lockstep/core/shape.hpp>

namespace lockstep::cuda_backend {

/// Two-dimensional convolution of elements A by cuDNN for a fixed number of samples: activations channels-last, weights
/// as `convolution::weight_offset` says. The geometry is a value here, so that a network of many convolutions compiles
/// this code once.
template <class A>
class convolution_runner {
 public:
  [[gnu::cold]] convolution_runner(context& c, const convolution_geometry& g, std::int64_t samples)
      : g_(g),
        x_{samples, dims{g.in_channels, g.in.height, g.in.width}},
        y_{samples, dims{g.out_channels, g.out().height, g.out().width}},
        w_{g.out_channels, dims{g.in_channels / g.groups, g.kernel.height, g.kernel.width}},
        channels_last_(describe(CUDNN_TENSOR_NHWC)),
        plain_(describe(CUDNN_TENSOR_NCHW)),
        relu_(activation(true)),
        identity_(activation(false)) {
    build(c);
    reserve(c);
  }
  convolution_runner(const convolution_runner&) = delete;  // plans point to the descriptors here
  convolution_runner& operator=(const convolution_runner&) = delete;

  /// y = relu_if(x * w + b). The first call waits.
  void forward(context& c, const A* x, const A* w, const A* b, A* y) {
    if (!fused_.has_value()) fused_ = tried_fusion(c, x, w, y);
    const bool plain = *fused_ == fusion::none;
    check(product(c, x, w, *fused_, b, y),
          plain ? "a convolution to start (cudnnConvolutionForward)"
                : "a convolution with its bias to start (cudnnConvolutionBiasActivationForward)");
    add_bias_and_relu(c, out_pixels(), g_.out_channels, plain && g_.bias ? b : nullptr,
                      g_.relu && *fused_ != fusion::bias_and_relu, y);
  }

  /// dw, db (+)= their gradients when g.parameter_gradient, and dx when g.input_gradient. dy is the gradient behind the
  /// relu's mask.
  void backward(context& c, const A* x, const A* dy, const A* w, A* dx, float* dw, float* db, bool accumulate) const {
    if (g_.parameter_gradient) {
      if (g_.bias) column_sums(c, out_pixels(), g_.out_channels, dy, db, accumulate);
      backward_weights(c, x, dy, dw, accumulate);
    }
    if (g_.input_gradient) backward_data(c, dy, w, dx);
  }

 private:
  /// Weight gradients of another type than float32 are made apart.
  static constexpr bool rounded = !std::is_same_v<A, float>;
  // cuDNN reads both from the host when it is called, as float for tensors of up to 32 bits.
  static constexpr float one = 1;
  static constexpr float zero = 0;  ///< the result's memory is not read

  /// What is done in the same call as the convolution.
  enum class fusion : std::uint8_t { none, bias, bias_and_relu };

  /// y = x * w, or what `with` makes of it, all in one call; then b is the bias, which may lie in the host's memory.
  [[nodiscard]] cudnnStatus_t product(context& c, const A* x, const A* w, fusion with, const A* b, A* y,
                                      bool bias_on_host = false) const {
    convolution_staging s(forward_);
    const auto x_room = s.room(x_, x);
    const auto w_room = s.room(w_, w);
    const auto y_room = s.room(y_, y);
    const bool plain = with == fusion::none;
    const auto b_room = plain ? convolution_staging::no_room : s.room(b, g_.out_channels, bias_on_host);
    s.open(c);
    const auto& d = *forward_.operands;
    const A* const from = s.load(c, x_room, x_, x);
    const A* const weights = s.load(c, w_room, w_, w);
    A* const to = s.place(y_room, y);
    const auto bytes = static_cast<std::size_t>(forward_.bytes);
    const cudnnStatus_t status =
        plain ? cudnnConvolutionForward(handle(c), &one, d.x.get(), from, d.w.get(), weights, forward_.window.get(),
                                        forward_.algorithm, s.library(), bytes, &zero, d.y.get(), to)
              : cudnnConvolutionBiasActivationForward(
                    handle(c), &one, d.x.get(), from, d.w.get(), weights, forward_.window.get(), forward_.algorithm,
                    s.library(), bytes, &zero, d.y.get(), to, d.bias.get(), s.load(c, b_room, g_.out_channels, b),
                    (with == fusion::bias ? identity_ : relu_).get(), d.y.get(), to);
    if (status == CUDNN_STATUS_SUCCESS) s.store(c, y_room, y_, y);
    return status;
  }

  /// The most that cuDNN does in the convolution itself so that a NaN stays one, which its manuals do not promise of
  /// the call. A relu that loses it would hide that a network has diverged; then the bias alone, where it is better
  /// added before the sum is rounded. Overwrites y.
  [[nodiscard, gnu::cold]] fusion tried_fusion(context& c, const A* x, const A* w, A* y) const {
    if (!g_.bias) return fusion::none;
    if (g_.relu && keeps_nan(c, x, w, fusion::bias_and_relu, y)) return fusion::bias_and_relu;
    return (!g_.relu || rounded) && keeps_nan(c, x, w, fusion::bias, y) ? fusion::bias : fusion::none;
  }

  /// Whether cuDNN offers the call: with a bias of NaN all of y must be that.
  [[nodiscard, gnu::cold]] bool keeps_nan(context& c, const A* x, const A* w, fusion with, A* y) const {
    // Without a relu it is this algorithm's alone.
    if (with == fusion::bias && forward_.algorithm != CUDNN_CONVOLUTION_FWD_ALGO_IMPLICIT_PRECOMP_GEMM) return false;
    std::vector<A> values(static_cast<std::size_t>(g_.out_channels),
                          static_cast<A>(std::numeric_limits<float>::quiet_NaN()));
    const bool offered = product(c, x, w, with, values.data(), y, true) == CUDNN_STATUS_SUCCESS;
    if (offered) copy<A>(c, g_.out_channels, y, values.data());
    c.finish();  // the work reads and writes `values`
    return offered &&
           std::all_of(values.begin(), values.end(), [](A value) { return std::isnan(static_cast<float>(value)); });
  }

  void backward_weights(context& c, const A* x, const A* dy, float* dw, bool accumulate) const {
    convolution_staging s(weights_);
    const auto x_room = s.room(x_, x);
    const auto dy_room = s.room(y_, dy);
    // With `accumulate` the complete gradient is made apart, and then added.
    const bool apart = accumulate || rounded;
    A* const direct = apart ? nullptr : in_place(dw);
    const auto fresh_room = apart ? s.template room<A>(w_) : convolution_staging::no_room;
    const auto dw_room = apart && !s.plain() ? fresh_room : s.room(w_, direct);
    s.open(c);
    const auto& d = *weights_.operands;
    check(cudnnConvolutionBackwardFilter(handle(c), &one, d.x.get(), s.load(c, x_room, x_, x), d.y.get(),
                                         s.load(c, dy_room, y_, dy), weights_.window.get(), weights_.algorithm,
                                         s.library(), static_cast<std::size_t>(weights_.bytes), &zero, d.w.get(),
                                         s.place(dw_room, direct)),
          "a convolution's weight gradient to start (cudnnConvolutionBackwardFilter)");
    A* const fresh = s.place(fresh_room, direct);
    if (dw_room != fresh_room) s.store(c, dw_room, w_, fresh);
    if (accumulate)
      add(c, w_.size(), fresh, dw);
    else if (apart)
      convert(c, w_.size(), fresh, dw);
  }

  /// Where the weights' gradient lies for cuDNN, which can write it there when it has the elements of all else.
  static A* in_place([[maybe_unused]] float* dw) {
    if constexpr (rounded)
      return nullptr;
    else
      return dw;
  }

  void backward_data(context& c, const A* dy, const A* w, A* dx) const {
    convolution_staging s(data_);
    const auto dy_room = s.room(y_, dy);
    const auto w_room = s.room(w_, w);
    const auto dx_room = s.room(x_, dx);
    s.open(c);
    const auto& d = *data_.operands;
    check(cudnnConvolutionBackwardData(handle(c), &one, d.w.get(), s.load(c, w_room, w_, w), d.y.get(),
                                       s.load(c, dy_room, y_, dy), data_.window.get(), data_.algorithm, s.library(),
                                       static_cast<std::size_t>(data_.bytes), &zero, d.x.get(), s.place(dx_room, dx)),
          "a convolution's input gradient to start (cudnnConvolutionBackwardData)");
    s.store(c, dx_room, x_, dx);
  }

  [[nodiscard, gnu::cold]] convolution_operands describe(cudnnTensorFormat_t order) const {
    constexpr auto elements = cudnn_type<A>;
    return {pictures(x_.count, x_.picture, order, elements), pictures(y_.count, y_.picture, order, elements),
            pictures(1, dims{g_.out_channels, 1, 1}, order, elements), filters(w_.count, w_.picture, order, elements)};
  }

  [[gnu::cold, gnu::noinline]] void build(context& c) {
    cudnnHandle_t h = handle(c);
    int most = 0;
    check(cudnnGetConvolutionForwardAlgorithmMaxCount(h, &most), "cudnnGetConvolutionForwardAlgorithmMaxCount");
    forward_ = plan_convolution<cudnnConvolutionFwdAlgoPerf_t>(
        g_, cudnn_type<A>, c.rounding(), channels_last_, plain_, most, CUDNN_CONVOLUTION_FWD_ALGO_IMPLICIT_PRECOMP_GEMM,
        [&](const auto& d, auto window, auto... results) {
          return cudnnGetConvolutionForwardAlgorithm_v7(h, d.x.get(), d.w.get(), window, d.y.get(), results...);
        },
        [&](const auto& d, auto window, auto... result) {
          return cudnnGetConvolutionForwardWorkspaceSize(h, d.x.get(), d.w.get(), window, d.y.get(), result...);
        },
        "an algorithm for a convolution (cudnnGetConvolutionForwardWorkspaceSize)");
    if (g_.parameter_gradient) {
      check(cudnnGetConvolutionBackwardFilterAlgorithmMaxCount(h, &most),
            "cudnnGetConvolutionBackwardFilterAlgorithmMaxCount");
      weights_ = plan_convolution<cudnnConvolutionBwdFilterAlgoPerf_t>(
          g_, cudnn_type<A>, c.rounding(), channels_last_, plain_, most, CUDNN_CONVOLUTION_BWD_FILTER_ALGO_1,
          [&](const auto& d, auto window, auto... results) {
            return cudnnGetConvolutionBackwardFilterAlgorithm_v7(h, d.x.get(), d.y.get(), window, d.w.get(),
                                                                 results...);
          },
          [&](const auto& d, auto window, auto... result) {
            return cudnnGetConvolutionBackwardFilterWorkspaceSize(h, d.x.get(), d.y.get(), window, d.w.get(),
                                                                  result...);
          },
          "an algorithm for a weight gradient (cudnnGetConvolutionBackwardFilterWorkspaceSize)");
    }
    if (g_.input_gradient) {
      check(cudnnGetConvolutionBackwardDataAlgorithmMaxCount(h, &most),
            "cudnnGetConvolutionBackwardDataAlgorithmMaxCount");
      data_ = plan_convolution<cudnnConvolutionBwdDataAlgoPerf_t>(
          g_, cudnn_type<A>, c.rounding(), channels_last_, plain_, most, CUDNN_CONVOLUTION_BWD_DATA_ALGO_1,
          [&](const auto& d, auto window, auto... results) {
            return cudnnGetConvolutionBackwardDataAlgorithm_v7(h, d.w.get(), d.y.get(), window, d.x.get(), results...);
          },
          [&](const auto& d, auto window, auto... result) {
            return cudnnGetConvolutionBackwardDataWorkspaceSize(h, d.w.get(), d.y.get(), window, d.x.get(), result...);
          },
          "an algorithm for an input gradient (cudnnGetConvolutionBackwardDataWorkspaceSize)");
    }
  }

  /// Makes the workspace large enough for every pass over aligned activations, because it cannot grow while work is
  /// recorded.
  [[gnu::cold]] void reserve(context& c) const {
    const auto room_for = [&](const auto& plan, std::int64_t vector = 0) {
      convolution_staging s(plan);
      constexpr const A* aligned = nullptr;
      static_cast<void>(s.room(x_, aligned));
      static_cast<void>(s.room(y_, aligned));
      static_cast<void>(s.template room<A>(w_));
      if (plan.plain) static_cast<void>(s.template room<A>(w_));
      static_cast<void>(s.room(aligned, vector, true));
      s.open(c);
    };
    room_for(forward_, g_.out_channels);
    room_for(weights_);
    room_for(data_);
    if (g_.bias && g_.parameter_gradient)
      static_cast<void>(c.workspace(column_sums_workspace(out_pixels(), g_.out_channels)));
  }

  [[nodiscard]] static cudnnHandle_t handle(context& c) { return c.template library<cudnn_library>().handle(); }
  [[nodiscard]] std::int64_t out_pixels() const { return y_.size() / g_.out_channels; }

  convolution_geometry g_;
  convolution_operand x_, y_, w_;
  convolution_operands channels_last_, plain_;
  activation_descriptor relu_, identity_;
  std::optional<fusion> fused_;  ///< nothing before the first forward
  convolution_plan<cudnnConvolutionFwdAlgo_t> forward_;
  convolution_plan<cudnnConvolutionBwdFilterAlgo_t> weights_;
  convolution_plan<cudnnConvolutionBwdDataAlgo_t> data_;
};

/// Two-dimensional convolution of elements A for a fixed number of samples, whose weights' gradients are of float32,
/// rounded to A on the way. Weights lie as (out, height, width, in / groups), the
/// order of cuDNN's channels-last filters.
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
