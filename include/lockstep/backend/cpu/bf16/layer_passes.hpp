// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <algorithm>
#include <cstdint>

#include <lockstep/backend/cpu/bf16/context.hpp>
#include <lockstep/backend/cpu/bf16/element.hpp>
#include <lockstep/backend/cpu/bf16/layer_shape.hpp>
#include <lockstep/backend/cpu/bf16/ordered_weights.hpp>
#include <lockstep/backend/cpu/onednn.hpp>
#include <lockstep/backend/cpu/onednn_call.hpp>
#include <lockstep/backend/cpu/onednn_convolution.hpp>

namespace lockstep::cpu_backend::bf16 {

/// The passes of a layer with weights by oneDNN for a fixed number of samples: activations and weights in bfloat16,
/// pictures channels-last; the gradient of the weights in float, in PyTorch's order. The gradient of the bias is not
/// among them.
class layer_passes {
 public:
  /// `weights` is the layer's, which lives longer than this object.
  [[gnu::cold]] layer_passes(dnnl_engine_t engine, const layer_shape& shape, const onednn_passes& passes,
                             std::int64_t samples, weights_in_orders& weights)
      : shape_(shape) {
    build(engine, passes, samples, weights);
  }

  /// Floats of workspace that a pass needs.
  [[nodiscard]] std::int64_t workspace_size() const noexcept {
    return (std::max)({forward_memory_.size(), weights_memory_.size(), data_memory_.size()});
  }

  /// y = x * w + b.
  void forward(context& c, float* workspace, const element* x, const element* w, const element* b, element* y) {
    weights_->load(c, w);
    forward_memory_.take(workspace);
    src_.load(c.stream(), x);
    if (shape_.g.bias) onednn::set_address(bias_.get(), b);
    dst_.bind(y);
    forward_(c.stream());
    dst_.store(c.stream());
  }

  /// dw = the gradient of the weights.
  void backward_weights(context& c, float* workspace, const element* x, const element* dy, float* dw) {
    weights_memory_.take(workspace);
    back_src_.load(c.stream(), x);
    back_dst_.load(c.stream(), dy);
    gradient_.bind(dw);
    backward_weights_(c.stream());
    gradient_.store(c.stream());
  }

  /// dx = the gradient of the input.
  void backward_input(context& c, float* workspace, const element* dy, const element* w, element* dx) {
    data_weights_->load(c, w);
    data_memory_.take(workspace);
    data_dst_.load(c.stream(), dy);
    data_src_.bind(dx);
    backward_data_(c.stream());
    data_src_.store(c.stream());
  }

 private:
  /// Descriptions of a pass's tensors: activations, the same in any order, and weights and their gradient in any order.
  struct layouts {
    onednn::memory_desc x, y, any_x, any_y, weights, gradient, bias;
  };

  [[nodiscard, gnu::cold]] dnnl_status_t create(onednn::primitive_desc& made, dnnl_engine_t engine, onednn::pass which,
                                                const layouts& d, bool any, dnnl_primitive_desc_t forward) const {
    const auto attr = onednn::make_attributes();
    const auto x = any ? d.any_x.view() : d.x.view();
    const auto y = any ? d.any_y.view() : d.y.view();
    const auto weights = which == onednn::pass::backward_weights ? d.gradient.view() : d.weights.view();
    const auto bias = shape_.g.bias && which == onednn::pass::forward ? d.bias.view() : nullptr;
    if (shape_.is_product) return onednn::create_product(made, engine, which, x, weights, bias, y, forward, attr.get());
    return onednn::create_convolution(made, engine, which, x, weights, bias, y, onednn::window(shape_.g), forward,
                                      attr.get());
  }

  /// Chooses activations in our own order, unless only oneDNN's, with reorders, exists or has optimised loops.
  [[nodiscard, gnu::cold]] onednn::primitive_desc choose(dnnl_engine_t engine, onednn::pass which, const layouts& d,
                                                         dnnl_primitive_desc_t forward) const {
    onednn::primitive_desc ours, any;
    const bool exists = create(ours, engine, which, d, false, forward) == dnnl_success;
    if (exists && !onednn::is_reference(ours)) return ours;
    const auto status = create(any, engine, which, d, true, forward);
    if (exists && (status != dnnl_success || onednn::is_reference(any))) return ours;
    onednn::check(status, shape_.name(which));
    return any;
  }

  [[gnu::cold, gnu::noinline]] void build(dnnl_engine_t engine, const onednn_passes& passes, std::int64_t samples,
                                          weights_in_orders& all_weights) {
    const layouts d{shape_.input(samples, false),
                    shape_.output(samples, false),
                    shape_.input(samples, true),
                    shape_.output(samples, true),
                    shape_.weights(true, dnnl_bf16),
                    shape_.weights(true, dnnl_f32),
                    shape_.bias()};
    const auto weights = shape_.weights(false, dnnl_bf16);
    const auto gradient = shape_.weights(false, dnnl_f32);

    x_ = onednn::make_memory(d.x.view(), engine);
    y_ = onednn::make_memory(d.y.view(), engine);

    const auto forward = choose(engine, onednn::pass::forward, d, nullptr);
    if (passes.forward) {
      src_.create(engine, x_.get(), d.x, onednn::query(forward, dnnl_query_src_md), true, forward_memory_);
      weights_ = all_weights.in(engine, weights, onednn::query(forward, dnnl_query_weights_md));
      dst_.create(engine, y_.get(), d.y, onednn::query(forward, dnnl_query_dst_md), false, forward_memory_);
      if (shape_.g.bias) bias_ = onednn::make_memory(d.bias.view(), engine);
      forward_.create(forward, shape_.name(onednn::pass::forward));
      forward_.add(DNNL_ARG_SRC, src_.memory());
      forward_.add(DNNL_ARG_WEIGHTS, weights_->memory());
      if (shape_.g.bias) forward_.add(DNNL_ARG_BIAS, bias_.get());
      forward_.add(DNNL_ARG_DST, dst_.memory());
      forward_scratch_.create(forward_, forward, engine, forward_memory_);
    }

    if (passes.weights) {
      const auto back = choose(engine, onednn::pass::backward_weights, d, forward.get());
      w_ = onednn::make_memory(gradient.view(), engine);
      back_src_.create(engine, x_.get(), d.x, onednn::query(back, dnnl_query_src_md), true, weights_memory_);
      back_dst_.create(engine, y_.get(), d.y, onednn::query(back, dnnl_query_diff_dst_md), true, weights_memory_);
      gradient_.create(engine, w_.get(), gradient, onednn::query(back, dnnl_query_diff_weights_md), false,
                       weights_memory_);
      backward_weights_.create(back, shape_.name(onednn::pass::backward_weights));
      backward_weights_.add(DNNL_ARG_SRC, back_src_.memory());
      backward_weights_.add(DNNL_ARG_DIFF_DST, back_dst_.memory());
      backward_weights_.add(DNNL_ARG_DIFF_WEIGHTS, gradient_.memory());
      weights_scratch_.create(backward_weights_, back, engine, weights_memory_);
    }

    if (passes.input) {
      const auto data = choose(engine, onednn::pass::backward_data, d, forward.get());
      data_src_.create(engine, x_.get(), d.x, onednn::query(data, dnnl_query_diff_src_md), false, data_memory_);
      data_dst_.create(engine, y_.get(), d.y, onednn::query(data, dnnl_query_diff_dst_md), true, data_memory_);
      data_weights_ = all_weights.in(engine, weights, onednn::query(data, dnnl_query_weights_md));
      backward_data_.create(data, shape_.name(onednn::pass::backward_data));
      backward_data_.add(DNNL_ARG_DIFF_DST, data_dst_.memory());
      backward_data_.add(DNNL_ARG_WEIGHTS, data_weights_->memory());
      backward_data_.add(DNNL_ARG_DIFF_SRC, data_src_.memory());
      data_scratch_.create(backward_data_, data, engine, data_memory_);
    }
  }

  layer_shape shape_;
  onednn::memory_handle x_, y_, w_;  ///< the caller's, or their gradients: no two passes run at the same time
  onednn::operand src_, dst_;
  onednn::operand back_src_, back_dst_, gradient_;
  onednn::operand data_src_, data_dst_;
  ordered_weights* weights_ = nullptr;
  ordered_weights* data_weights_ = nullptr;
  onednn::memory_handle bias_;
  onednn::scratch forward_scratch_, weights_scratch_, data_scratch_;
  onednn::borrowed_memory forward_memory_, weights_memory_, data_memory_;
  onednn::call forward_, backward_weights_, backward_data_;
};

}  // namespace lockstep::cpu_backend::bf16
