// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <algorithm>
#include <cstdint>
#include <optional>

#include <lockstep/backend/cpu/context.hpp>
#include <lockstep/backend/cpu/narrow_convolution.hpp>
#include <lockstep/backend/geometry.hpp>
#include <lockstep/core/config.hpp>

namespace lockstep::cpu_backend {

/// Two-dimensional convolution by oneDNN for a fixed number of samples: activations channels-last, weights in
/// PyTorch's order. The geometry is a value here, so that a network of many convolutions compiles this code once.
class convolution_runner {
 public:
  convolution_runner(context& c, const convolution_geometry& geometry, std::int64_t samples)
      : g_(geometry), samples_(samples) {
    onednn::checked("a convolution", [&] { build(c.engine(), samples); });
  }

  /// y = relu_if(x * w + b).
  void forward(context& c, const float* x, const float* w, const float* b, float* y) {
    src_.load(c.stream(), x);
    weights_.load(c.stream(), w);
    if (g_.bias) set(bias_, b);
    dst_.bind(y);
    forward_(c.stream(), "convolution forward");
    dst_.store(c.stream());
  }

  /// dw, db (+)= their gradients, and dx when g_.input_gradient. dy is the gradient behind the relu's mask.
  void backward(context& c, const float* x, const float* dy, const float* w, float* dx, float* dw, float* db,
                bool accumulate) {
    if (narrow_)
      (*narrow_)(samples_, x, dy, dw, g_.bias ? db : nullptr, accumulate);
    else
      backward_weights(c, x, dy, dw, db, accumulate);
    if (g_.input_gradient) {
      data_dst_.load(c.stream(), dy);
      data_weights_.load(c.stream(), w);
      data_src_.bind(dx);
      backward_data_(c.stream(), "convolution backward data");
      data_src_.store(c.stream());
    }
  }

 private:
  void backward_weights(context& c, const float* x, const float* dy, float* dw, float* db, bool accumulate) {
    back_src_.load(c.stream(), x);
    back_dst_.load(c.stream(), dy);
    weights_gradient_.bind(accumulate ? fresh_weights_.data() : dw);
    if (g_.bias) set(bias_gradient_, accumulate ? fresh_bias_.data() : db);
    backward_weights_(c.stream(), "convolution backward weights");
    weights_gradient_.store(c.stream());
    if (accumulate) {
      add(fresh_weights_, dw);
      if (g_.bias) add(fresh_bias_, db);
    }
  }

  static void set(const dnnl::memory& memory, const float* bytes) {
    dnnl_memory_set_data_handle(memory.get(), const_cast<float*>(bytes));  // NOLINT: oneDNN's handles are not const
  }

  static void add(const aligned_buffer<float>& from, float* LOCKSTEP_RESTRICT to) {
    const float* LOCKSTEP_RESTRICT values = from.data();
    for (std::int64_t i = 0; i < from.size(); ++i) to[i] += values[i];
  }

  /// The faster of channels-last and oneDNN's own choice: the latter, with reorders, only where the former would run
  /// unoptimised loops.
  template <class Describe>
  static auto choose(const Describe& describe, const onednn::convolution_descs& ours,
                     const onednn::convolution_descs& any) {
    try {
      auto first = describe(ours);
      if (!onednn::is_reference(first.impl_info_str())) return first;
      auto second = describe(any);
      return onednn::is_reference(second.impl_info_str()) ? first : second;
    } catch (const dnnl::error&) {
      return describe(any);
    }
  }

  void build(const dnnl::engine& engine, std::int64_t n) {
    const auto x = onednn::channels_last(n, g_.in_channels, g_.in);
    const auto y = onednn::channels_last(n, g_.out_channels, g_.out());
    const auto w = onednn::convolution_weights(g_, false);
    const auto b = onednn::vector_desc(g_.out_channels);
    const onednn::convolution_descs ours{x, onednn::convolution_weights(g_, true), b, y};
    const onednn::convolution_descs any{onednn::any_order(n, g_.in_channels, g_.in), ours.weights, b,
                                        onednn::any_order(n, g_.out_channels, g_.out())};

    const auto forward = choose([&](const auto& d) { return onednn::describe_forward(engine, g_, d); }, ours, any);
    src_ = {engine, x, forward.src_desc(), true};
    weights_ = {engine, w, forward.weights_desc(), true};
    dst_ = {engine, y, forward.dst_desc(), false};
    bias_ = onednn::unbound(b, engine);
    forward_ = onednn::call(dnnl::convolution_forward(forward));
    forward_.add(DNNL_ARG_SRC, src_.memory());
    forward_.add(DNNL_ARG_WEIGHTS, weights_.memory());
    if (g_.bias) forward_.add(DNNL_ARG_BIAS, bias_);
    forward_.add(DNNL_ARG_DST, dst_.memory());
    scratch_.add(forward_, forward.scratchpad_desc(), engine);

    if (narrow::takes(g_)) {
      narrow_.emplace(g_);
    } else {
      const auto back = choose(
          [&](const auto& d) { return onednn::describe_backward_weights(engine, g_, d, forward); }, ours, any);
      back_src_ = {engine, x, back.src_desc(), true};
      back_dst_ = {engine, y, back.diff_dst_desc(), true};
      weights_gradient_ = {engine, w, back.diff_weights_desc(), false};
      bias_gradient_ = onednn::unbound(b, engine);
      fresh_weights_ = aligned_buffer<float>(g_.weight_size());
      fresh_bias_ = aligned_buffer<float>(g_.bias ? g_.out_channels : 0);
      backward_weights_ = onednn::call(dnnl::convolution_backward_weights(back));
      backward_weights_.add(DNNL_ARG_SRC, back_src_.memory());
      backward_weights_.add(DNNL_ARG_DIFF_DST, back_dst_.memory());
      backward_weights_.add(DNNL_ARG_DIFF_WEIGHTS, weights_gradient_.memory());
      if (g_.bias) backward_weights_.add(DNNL_ARG_DIFF_BIAS, bias_gradient_);
      scratch_.add(backward_weights_, back.scratchpad_desc(), engine);
    }

    if (g_.input_gradient) {
      const auto data = choose(
          [&](const auto& d) { return onednn::describe_backward_data(engine, g_, d, forward); }, ours, any);
      data_src_ = {engine, x, data.diff_src_desc(), false};
      data_dst_ = {engine, y, data.diff_dst_desc(), true};
      data_weights_ = {engine, w, data.weights_desc(), true};
      backward_data_ = onednn::call(dnnl::convolution_backward_data(data));
      backward_data_.add(DNNL_ARG_DIFF_DST, data_dst_.memory());
      backward_data_.add(DNNL_ARG_WEIGHTS, data_weights_.memory());
      backward_data_.add(DNNL_ARG_DIFF_SRC, data_src_.memory());
      scratch_.add(backward_data_, data.scratchpad_desc(), engine);
    }
  }

  convolution_geometry g_;
  std::int64_t samples_;
  std::optional<narrow::weight_gradient> narrow_;
  onednn::operand src_, weights_, dst_;
  onednn::operand back_src_, back_dst_, weights_gradient_;
  onednn::operand data_src_, data_dst_, data_weights_;
  dnnl::memory bias_, bias_gradient_;
  aligned_buffer<float> fresh_weights_, fresh_bias_;
  onednn::scratch scratch_;
  onednn::call forward_, backward_weights_, backward_data_;
};

template <convolution_geometry G>
class convolution : public convolution_runner {
 public:
  convolution(context& c, std::int64_t samples) : convolution_runner(c, G, samples) {}
};

}  // namespace lockstep::cpu_backend
