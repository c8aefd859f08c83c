// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <cstdint>
#include <optional>
#include <type_traits>

#include <lockstep/backend/cpu/column_sums.hpp>
#include <lockstep/backend/cpu/context.hpp>
#include <lockstep/backend/cpu/elementwise.hpp>
#include <lockstep/backend/cpu/narrow_convolution.hpp>
#include <lockstep/backend/cpu/winograd.hpp>
#include <lockstep/backend/geometry.hpp>
#include <lockstep/core/config.hpp>
#include <lockstep/core/tensor.hpp>

namespace lockstep::cpu_backend {

/// Two-dimensional convolution for a fixed number of samples, by oneDNN, or by kernels of our own where there are few
/// input channels: activations channels-last, weights in PyTorch's order. The geometry is a value here, so that a
/// network of many convolutions compiles this code once.
class convolution_runner {
 public:
  [[gnu::cold]] convolution_runner(context& c, const convolution_geometry& geometry, std::int64_t samples)
      : g_(geometry), samples_(samples) {
    build(c);
  }

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
    src_.load(c.stream(), x);
    weights_.load(c.stream(), w);
    if (g_.bias) onednn::set_address(bias_.get(), b);
    dst_.bind(y);
    forward_(c.stream());
    dst_.store(c.stream());
    // oneDNN's own would turn a NaN into 0.
    if (g_.relu) relu_forward(c, samples_ * g_.out_size(), y, y);
  }

  /// dw, db (+)= their gradients when g_.parameter_gradient, and dx when g_.input_gradient. dy is the gradient behind
  /// the relu's mask.
  void backward(context& c, const float* x, const float* dy, const float* w, float* dx, float* dw, float* db,
                bool accumulate) {
    if (g_.parameter_gradient && is_narrow_)
      with_widest([&]<class V>(std::type_identity<V>) {
        float* bias = g_.bias ? db : nullptr;
        if (winograd_gradient_)
          winograd_gradient_->run<V>(samples_, x, dy, dw, bias, accumulate);
        else
          narrow_gradient_->run<V>(samples_, x, dy, dw, bias, accumulate);
      });
    else if (g_.parameter_gradient)
      backward_weights(c, x, dy, dw, db, accumulate);
    if (g_.input_gradient) {
      data_dst_.load(c.stream(), dy);
      data_weights_.load(c.stream(), w);
      data_src_.bind(dx);
      backward_data_(c.stream());
      data_src_.store(c.stream());
    }
  }

 private:
  void backward_weights(context& c, const float* x, const float* dy, float* dw, float* db, bool accumulate) {
    back_src_.load(c.stream(), x);
    back_dst_.load(c.stream(), dy);
    weights_gradient_.bind(accumulate ? fresh_weights_.data() : dw);
    backward_weights_(c.stream());
    weights_gradient_.store(c.stream());
    if (accumulate) add(fresh_weights_, dw);
    if (!g_.bias) return;
    // Not by oneDNN, which adds all pixels to one float, and so is off by a part in 400 after 512 x 512 of them.
    column_sums(samples_ * g_.out().height * g_.out().width, g_.out_channels, dy, accumulate ? fresh_bias_.data() : db);
    if (accumulate) add(fresh_bias_, db);
  }

  static void add(const aligned_buffer<float>& from, float* LOCKSTEP_RESTRICT to) {
    const float* LOCKSTEP_RESTRICT values = from.data();
    for (std::int64_t i = 0; i < from.size(); ++i) to[i] += values[i];
  }

  /// What a pass sees: pictures channels-last, weights in any order, and the pictures in any order too.
  struct layouts {
    onednn::memory_desc x, y, any_x, any_y, weights, bias;
  };

  static const char* name(onednn::pass which) {
    switch (which) {
      case onednn::pass::forward:
        return "a forward convolution";
      case onednn::pass::backward_data:
        return "a convolution's input gradient";
      case onednn::pass::backward_weights:
        break;
    }
    return "a convolution's weight gradient";
  }

  [[nodiscard, gnu::cold]] dnnl_status_t create(onednn::primitive_desc& made, dnnl_engine_t engine, onednn::pass which,
                                                const layouts& d, bool any, dnnl_primitive_desc_t forward) const {
    const auto attr = onednn::make_attributes();
    const bool bias = g_.bias && which == onednn::pass::forward;
    return onednn::create_convolution(made, engine, which, any ? d.any_x.view() : d.x.view(), d.weights.view(),
                                      bias ? d.bias.view() : nullptr, any ? d.any_y.view() : d.y.view(),
                                      onednn::window(g_), forward, attr.get());
  }

  /// The faster of channels-last and oneDNN's own choice: the latter, with reorders, only where the former would run
  /// unoptimised loops or does not exist.
  [[nodiscard, gnu::cold]] onednn::primitive_desc choose(dnnl_engine_t engine, onednn::pass which, const layouts& d,
                                                         dnnl_primitive_desc_t forward) const {
    onednn::primitive_desc ours, any;
    const bool exists = create(ours, engine, which, d, false, forward) == dnnl_success;
    if (exists && !onednn::is_reference(ours)) return ours;
    const auto status = create(any, engine, which, d, true, forward);
    if (exists && (status != dnnl_success || onednn::is_reference(any))) return ours;
    onednn::check(status, name(which));
    return any;
  }

  [[gnu::cold, gnu::noinline]] void build(const context& c) {
    is_narrow_ = narrow::takes(g_) && c.threads() == 1;  // kernels of our own run in one thread
    if (is_narrow_ && narrow::takes_winograd(g_)) {
      winograd_forward_.emplace(g_);
      if (g_.parameter_gradient) winograd_gradient_.emplace(g_);
    } else if (is_narrow_) {
      narrow_forward_.emplace(g_);
      if (g_.parameter_gradient) narrow_gradient_.emplace(g_);
    }
    if (!is_narrow_ || g_.input_gradient) build_onednn(c.engine());
  }

  /// What no kernel of our own does.
  [[gnu::cold]] void build_onednn(dnnl_engine_t engine) {
    const layouts d{onednn::pictures(samples_, g_.in_channels, g_.in, false),
                    onednn::pictures(samples_, g_.out_channels, g_.out(), false),
                    onednn::pictures(samples_, g_.in_channels, g_.in, true),
                    onednn::pictures(samples_, g_.out_channels, g_.out(), true),
                    onednn::convolution_weights(g_, true),
                    onednn::memory_desc(1, {g_.out_channels}, dnnl_x)};
    const auto w = onednn::convolution_weights(g_, false);

    const auto forward = choose(engine, onednn::pass::forward, d, nullptr);
    if (!is_narrow_) {
      src_.create(engine, d.x, onednn::query(forward, dnnl_query_src_md), true);
      weights_.create(engine, w, onednn::query(forward, dnnl_query_weights_md), true);
      dst_.create(engine, d.y, onednn::query(forward, dnnl_query_dst_md), false);
      bias_ = onednn::make_memory(d.bias.view(), engine);
      forward_.create(forward, name(onednn::pass::forward));
      forward_.add(DNNL_ARG_SRC, src_.memory());
      forward_.add(DNNL_ARG_WEIGHTS, weights_.memory());
      if (g_.bias) forward_.add(DNNL_ARG_BIAS, bias_.get());
      forward_.add(DNNL_ARG_DST, dst_.memory());
      scratch_.add(forward_, forward, engine);
    }

    if (g_.parameter_gradient && !is_narrow_) {
      const auto back = choose(engine, onednn::pass::backward_weights, d, forward.get());
      back_src_.create(engine, d.x, onednn::query(back, dnnl_query_src_md), true);
      back_dst_.create(engine, d.y, onednn::query(back, dnnl_query_diff_dst_md), true);
      weights_gradient_.create(engine, w, onednn::query(back, dnnl_query_diff_weights_md), false);
      fresh_weights_ = aligned_buffer<float>(g_.weight_size());
      fresh_bias_ = aligned_buffer<float>(g_.bias ? g_.out_channels : 0);
      backward_weights_.create(back, name(onednn::pass::backward_weights));
      backward_weights_.add(DNNL_ARG_SRC, back_src_.memory());
      backward_weights_.add(DNNL_ARG_DIFF_DST, back_dst_.memory());
      backward_weights_.add(DNNL_ARG_DIFF_WEIGHTS, weights_gradient_.memory());
      scratch_.add(backward_weights_, back, engine);
    }

    if (g_.input_gradient) {
      const auto data = choose(engine, onednn::pass::backward_data, d, forward.get());
      data_src_.create(engine, d.x, onednn::query(data, dnnl_query_diff_src_md), false);
      data_dst_.create(engine, d.y, onednn::query(data, dnnl_query_diff_dst_md), true);
      data_weights_.create(engine, w, onednn::query(data, dnnl_query_weights_md), true);
      backward_data_.create(data, name(onednn::pass::backward_data));
      backward_data_.add(DNNL_ARG_DIFF_DST, data_dst_.memory());
      backward_data_.add(DNNL_ARG_WEIGHTS, data_weights_.memory());
      backward_data_.add(DNNL_ARG_DIFF_SRC, data_src_.memory());
      scratch_.add(backward_data_, data, engine);
    }
  }

  convolution_geometry g_;
  std::int64_t samples_;
  bool is_narrow_ = false;  ///< forward and weight gradient by kernels of our own
  std::optional<narrow::convolution_forward> narrow_forward_;
  std::optional<narrow::weight_gradient> narrow_gradient_;
  std::optional<narrow::winograd_forward> winograd_forward_;
  std::optional<narrow::winograd_gradient> winograd_gradient_;
  onednn::operand src_, weights_, dst_;
  onednn::operand back_src_, back_dst_, weights_gradient_;
  onednn::operand data_src_, data_dst_, data_weights_;
  onednn::memory_handle bias_;
  aligned_buffer<float> fresh_weights_, fresh_bias_;
  onednn::scratch scratch_;
  onednn::call forward_, backward_weights_, backward_data_;
};

template <convolution_geometry G>
class convolution : public convolution_runner {
 public:
  convolution(context& c, std::int64_t samples) : convolution_runner(c, G, samples) {}

  /// Position of PyTorch's weight[o][i][h][w] in the flat range.
  [[nodiscard]] static constexpr std::int64_t weight_offset(std::int64_t o, std::int64_t i, std::int64_t h,
                                                            std::int64_t w) {
    return ((o * (G.in_channels / G.groups) + i) * G.kernel.height + h) * G.kernel.width + w;
  }
};

}  // namespace lockstep::cpu_backend
