// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>

#include <lockstep/backend/cpu/all_finite.hpp>
#include <lockstep/backend/cpu/careful_max_pooling.hpp>
#include <lockstep/backend/cpu/context.hpp>
#include <lockstep/backend/cpu/max_pooling_pairs.hpp>
#include <lockstep/backend/cpu/onednn_call.hpp>
#include <lockstep/backend/cpu/pieces.hpp>
#include <lockstep/backend/geometry.hpp>
#include <lockstep/core/tensor.hpp>

namespace lockstep::cpu_backend {

/// Pooling by oneDNN for a fixed number of samples, activations channels-last. Maximum pooling remembers the winning
/// positions between forward and backward.
class onednn_pooling {
 public:
  [[gnu::cold]] onednn_pooling(dnnl_engine_t engine, const pooling_geometry& geometry, std::int64_t samples)
      : g_(geometry) {
    const auto x = onednn::pictures(samples, g_.channels, g_.in, false);
    const auto y = onednn::pictures(samples, g_.channels, g_.out(), false);
    const auto forward = describe(engine, x, y, nullptr);
    const auto backward = describe(engine, x, y, forward.get());
    x_ = onednn::make_memory(x.view(), engine);
    y_ = onednn::make_memory(y.view(), engine);
    src_.create(engine, x_.get(), x, x.view(), true, forward_memory_);
    dst_.create(engine, y_.get(), y, y.view(), false, forward_memory_);
    src_gradient_.create(engine, x_.get(), x, x.view(), false, backward_memory_);
    dst_gradient_.create(engine, y_.get(), y, y.view(), true, backward_memory_);
    forward_.create(forward, "a forward pooling");
    forward_.add(DNNL_ARG_SRC, src_.memory());
    forward_.add(DNNL_ARG_DST, dst_.memory());
    forward_scratch_.create(forward_, forward, engine, forward_memory_);
    backward_.create(backward, "a backward pooling");
    backward_.add(DNNL_ARG_DIFF_DST, dst_gradient_.memory());
    backward_.add(DNNL_ARG_DIFF_SRC, src_gradient_.memory());
    backward_scratch_.create(backward_, backward, engine, backward_memory_);
    if (g_.kind == pooling_kind::maximum) {
      const auto winners = onednn::query(forward, dnnl_query_workspace_md);
      winners_ = onednn::make_buffer(winners);
      workspace_ = onednn::make_memory(winners, engine, winners_.data());
      forward_.add(DNNL_ARG_WORKSPACE, workspace_.get());
      backward_.add(DNNL_ARG_WORKSPACE, workspace_.get());
    }
  }

  void forward(context& c, const float* x, float* y) {
    forward_memory_.take(c.workspace(forward_memory_.size()));
    src_.load(c.stream(), x);
    dst_.bind(y);
    forward_(c.stream());
  }

  /// dx = the gradient of the input; every element is written.
  void backward(context& c, const float* dy, float* dx) {
    backward_memory_.take(c.workspace(backward_memory_.size()));
    dst_gradient_.load(c.stream(), dy);
    src_gradient_.bind(dx);
    backward_(c.stream());
  }

 private:
  static dnnl_alg_kind_t algorithm(pooling_kind kind) {
    switch (kind) {
      case pooling_kind::maximum:
        return dnnl_pooling_max;
      case pooling_kind::average_include_padding:
        return dnnl_pooling_avg_include_padding;
      case pooling_kind::average_exclude_padding:
        break;
    }
    return dnnl_pooling_avg_exclude_padding;
  }

  /// Describes the backward pass when `forward` is not null, else the forward pass.
  [[nodiscard, gnu::cold]] onednn::primitive_desc describe(dnnl_engine_t engine, const onednn::memory_desc& x,
                                                           const onednn::memory_desc& y,
                                                           dnnl_primitive_desc_t forward) const {
    const auto attr = onednn::make_attributes();
    onednn::primitive_desc made;
    onednn::check(onednn::create_pooling(made, engine, algorithm(g_.kind), x.view(), y.view(), onednn::window(g_),
                                         forward, attr.get()),
                  forward == nullptr ? "a forward pooling" : "a backward pooling");
    return made;
  }

  pooling_geometry g_;
  onednn::memory_handle x_, y_;  ///< the caller's, or their gradients
  onednn::operand src_, dst_, src_gradient_, dst_gradient_;
  onednn::memory_handle workspace_;
  aligned_buffer<std::byte> winners_;
  onednn::scratch forward_scratch_, backward_scratch_;
  onednn::borrowed_memory forward_memory_, backward_memory_;
  onednn::call forward_, backward_;
};

/// Pooling, activations channels-last: the largest of 2 x 2 by our own kernel in one thread, all else by oneDNN.
/// oneDNN's maximum skips a NaN and would hide that a network has diverged, so `careful_max_pooling` takes
/// the pictures that are not finite.
class pooling_runner {
 public:
  [[gnu::cold]] pooling_runner(context& c, const pooling_geometry& geometry, std::int64_t samples)
      : g_(geometry), samples_(samples) {
    if (max_pooling_pairs::takes(g_) && c.threads() == 1) {
      pairs_.emplace(g_, samples);
      return;
    }
    onednn_ = pieces<onednn_pooling>(samples, [&](std::int64_t n) { return onednn_pooling(c.engine(), geometry, n); });
    if (g_.kind == pooling_kind::maximum) careful_.emplace(g_, samples);
  }

  /// Sets the number of samples of the next passes, at most the number given to the constructor.
  void set_samples(std::int64_t samples) noexcept { samples_ = samples; }

  void forward(context& c, const float* x, float* y) {
    if (pairs_) return pairs_->forward(samples_, x, y);
    is_careful_ = careful_ && !all_finite(samples_ * g_.in_size(), x);
    if (is_careful_) return careful_->forward(samples_, x, y);
    onednn_.each(samples_, [&](onednn_pooling& piece, std::int64_t first) {
      piece.forward(c, x + first * g_.in_size(), y + first * g_.out_size());
    });
  }

  /// dx = the gradient of the input; every element is written.
  void backward(context& c, const float* dy, float* dx) {
    if (pairs_) return pairs_->backward(samples_, dy, dx);
    if (is_careful_) return careful_->backward(samples_, dy, dx);
    onednn_.each(samples_, [&](onednn_pooling& piece, std::int64_t first) {
      piece.backward(c, dy + first * g_.out_size(), dx + first * g_.in_size());
    });
  }

 private:
  pooling_geometry g_;
  std::int64_t samples_;
  std::optional<max_pooling_pairs> pairs_;
  pieces<onednn_pooling> onednn_;
  std::optional<careful_max_pooling> careful_;
  bool is_careful_ = false;  ///< `careful_` ran the last forward pass
};

template <pooling_geometry G>
class pooling : public pooling_runner {
 public:
  pooling(context& c, std::int64_t samples) : pooling_runner(c, G, samples) {}
};

}  // namespace lockstep::cpu_backend
