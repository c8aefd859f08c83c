// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <algorithm>
#include <cstdint>

#include <lockstep/backend/cpu/onednn.hpp>
#include <lockstep/backend/cpu/onednn_call.hpp>
#include <lockstep/backend/cpu/weight_order.hpp>
#include <lockstep/backend/geometry.hpp>

namespace lockstep::cpu_backend {

/// Which passes of a convolution oneDNN runs.
struct onednn_passes {
  bool forward = true;
  bool weights = true;
  bool input = true;
};

/// A convolution's passes by oneDNN for a fixed number of samples: activations channels-last, weights in a given
/// order. The gradient of the bias is not among them.
class onednn_convolution {
 public:
  [[gnu::cold]] onednn_convolution(dnnl_engine_t engine, const convolution_geometry& geometry,
                                   const onednn_passes& passes, std::int64_t samples, weight_order order)
      : g_(geometry) {
    build(engine, passes, samples, order);
  }

  /// Floats of workspace that a pass needs.
  [[nodiscard]] std::int64_t workspace_size() const noexcept {
    return (std::max)({forward_memory_.size(), weights_memory_.size(), data_memory_.size()});
  }

  /// y = x * w + b.
  void forward(dnnl_stream_t stream, float* workspace, const float* x, const float* w, const float* b, float* y) {
    forward_memory_.take(workspace);
    src_.load(stream, x);
    weights_.load(stream, w);
    if (g_.bias) onednn::set_address(bias_.get(), b);
    dst_.bind(y);
    forward_(stream);
    dst_.store(stream);
  }

  /// dw = the gradient of the weights.
  void backward_weights(dnnl_stream_t stream, float* workspace, const float* x, const float* dy, float* dw) {
    weights_memory_.take(workspace);
    back_src_.load(stream, x);
    back_dst_.load(stream, dy);
    weights_gradient_.bind(dw);
    backward_weights_(stream);
    weights_gradient_.store(stream);
  }

  /// dx = the gradient of the input.
  void backward_input(dnnl_stream_t stream, float* workspace, const float* dy, const float* w, float* dx) {
    data_memory_.take(workspace);
    data_dst_.load(stream, dy);
    data_weights_.load(stream, w);
    data_src_.bind(dx);
    backward_data_(stream);
    data_src_.store(stream);
  }

 private:
  /// Descriptions of a pass's tensors: pictures channels-last, the same in any order, and weights in any order.
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

  /// Chooses channels-last pictures, unless only oneDNN's own order, with reorders, exists or has optimised loops.
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

  [[gnu::cold, gnu::noinline]] void build(dnnl_engine_t engine, const onednn_passes& passes, std::int64_t samples,
                                          weight_order order) {
    const layouts d{onednn::pictures(samples, g_.in_channels, g_.in, false),
                    onednn::pictures(samples, g_.out_channels, g_.out(), false),
                    onednn::pictures(samples, g_.in_channels, g_.in, true),
                    onednn::pictures(samples, g_.out_channels, g_.out(), true),
                    onednn::any_convolution_weights(g_),
                    onednn::memory_desc(1, {g_.out_channels}, dnnl_x)};
    const auto w = onednn::convolution_weights(g_, order == weight_order::tap_major);

    x_ = onednn::make_memory(d.x.view(), engine);
    y_ = onednn::make_memory(d.y.view(), engine);
    w_ = onednn::make_memory(w.view(), engine);

    const auto forward = choose(engine, onednn::pass::forward, d, nullptr);
    if (passes.forward) {
      src_.create(engine, x_.get(), d.x, onednn::query(forward, dnnl_query_src_md), true, forward_memory_);
      weights_.create(engine, w_.get(), w, onednn::query(forward, dnnl_query_weights_md), true, forward_memory_);
      dst_.create(engine, y_.get(), d.y, onednn::query(forward, dnnl_query_dst_md), false, forward_memory_);
      if (g_.bias) bias_ = onednn::make_memory(d.bias.view(), engine);
      forward_.create(forward, name(onednn::pass::forward));
      forward_.add(DNNL_ARG_SRC, src_.memory());
      forward_.add(DNNL_ARG_WEIGHTS, weights_.memory());
      if (g_.bias) forward_.add(DNNL_ARG_BIAS, bias_.get());
      forward_.add(DNNL_ARG_DST, dst_.memory());
      forward_scratch_.create(forward_, forward, engine, forward_memory_);
    }

    if (passes.weights) {
      const auto back = choose(engine, onednn::pass::backward_weights, d, forward.get());
      back_src_.create(engine, x_.get(), d.x, onednn::query(back, dnnl_query_src_md), true, weights_memory_);
      back_dst_.create(engine, y_.get(), d.y, onednn::query(back, dnnl_query_diff_dst_md), true, weights_memory_);
      weights_gradient_.create(engine, w_.get(), w, onednn::query(back, dnnl_query_diff_weights_md), false,
                               weights_memory_);
      backward_weights_.create(back, name(onednn::pass::backward_weights));
      backward_weights_.add(DNNL_ARG_SRC, back_src_.memory());
      backward_weights_.add(DNNL_ARG_DIFF_DST, back_dst_.memory());
      backward_weights_.add(DNNL_ARG_DIFF_WEIGHTS, weights_gradient_.memory());
      weights_scratch_.create(backward_weights_, back, engine, weights_memory_);
    }

    if (passes.input) {
      const auto data = choose(engine, onednn::pass::backward_data, d, forward.get());
      data_src_.create(engine, x_.get(), d.x, onednn::query(data, dnnl_query_diff_src_md), false, data_memory_);
      data_dst_.create(engine, y_.get(), d.y, onednn::query(data, dnnl_query_diff_dst_md), true, data_memory_);
      data_weights_.create(engine, w_.get(), w, onednn::query(data, dnnl_query_weights_md), true, data_memory_);
      backward_data_.create(data, name(onednn::pass::backward_data));
      backward_data_.add(DNNL_ARG_DIFF_DST, data_dst_.memory());
      backward_data_.add(DNNL_ARG_WEIGHTS, data_weights_.memory());
      backward_data_.add(DNNL_ARG_DIFF_SRC, data_src_.memory());
      data_scratch_.create(backward_data_, data, engine, data_memory_);
    }
  }

  convolution_geometry g_;
  onednn::memory_handle x_, y_, w_;  ///< the caller's, or their gradients: no two passes run at the same time
  onednn::operand src_, weights_, dst_;
  onednn::operand back_src_, back_dst_, weights_gradient_;
  onednn::operand data_src_, data_dst_, data_weights_;
  onednn::memory_handle bias_;
  onednn::scratch forward_scratch_, weights_scratch_, data_scratch_;
  onednn::borrowed_memory forward_memory_, weights_memory_, data_memory_;
  onednn::call forward_, backward_weights_, backward_data_;
};

}  // namespace lockstep::cpu_backend
