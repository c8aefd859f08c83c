// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <cstdint>

#include <lockstep/backend/cpu/context.hpp>
#include <lockstep/backend/geometry.hpp>

namespace lockstep::cpu_backend {

/// Pooling by oneDNN for a fixed number of samples, activations channels-last. Maximum pooling remembers the winning
/// positions between forward and backward.
class pooling_runner {
 public:
  pooling_runner(context& c, const pooling_geometry& geometry, std::int64_t samples) : g_(geometry) {
    onednn::checked("a pooling", [&] { build(c.engine(), samples); });
  }

  void forward(context& c, const float* x, float* y) {
    src_.load(c.stream(), x);
    dst_.bind(y);
    forward_(c.stream(), "pooling forward");
  }

  /// dx = the gradient of the input; every element is written.
  void backward(context& c, const float* dy, float* dx) {
    dst_gradient_.load(c.stream(), dy);
    src_gradient_.bind(dx);
    backward_(c.stream(), "pooling backward");
  }

 private:
  void build(const dnnl::engine& engine, std::int64_t n) {
    const auto x = onednn::channels_last(n, g_.channels, g_.in);
    const auto y = onednn::channels_last(n, g_.channels, g_.out());
    const auto forward = onednn::describe_forward(engine, g_, x, y);
    const auto backward = onednn::describe_backward(engine, g_, x, y, forward);
    src_ = {engine, x, x, true};
    dst_ = {engine, y, y, false};
    src_gradient_ = {engine, x, x, false};
    dst_gradient_ = {engine, y, y, true};
    forward_ = onednn::call(dnnl::pooling_forward(forward));
    forward_.add(DNNL_ARG_SRC, src_.memory());
    forward_.add(DNNL_ARG_DST, dst_.memory());
    scratch_.add(forward_, forward.scratchpad_desc(), engine);
    backward_ = onednn::call(dnnl::pooling_backward(backward));
    backward_.add(DNNL_ARG_DIFF_DST, dst_gradient_.memory());
    backward_.add(DNNL_ARG_DIFF_SRC, src_gradient_.memory());
    scratch_.add(backward_, backward.scratchpad_desc(), engine);
    if (g_.kind == pooling_kind::maximum) {
      winners_ = aligned_buffer<std::byte>(static_cast<std::int64_t>(forward.workspace_desc().get_size()));
      workspace_ = dnnl::memory(forward.workspace_desc(), engine, winners_.data());
      forward_.add(DNNL_ARG_WORKSPACE, workspace_);
      backward_.add(DNNL_ARG_WORKSPACE, workspace_);
    }
  }

  pooling_geometry g_;
  onednn::operand src_, dst_, src_gradient_, dst_gradient_;
  dnnl::memory workspace_;
  aligned_buffer<std::byte> winners_;
  onednn::scratch scratch_;
  onednn::call forward_, backward_;
};

template <pooling_geometry G>
class pooling : public pooling_runner {
 public:
  pooling(context& c, std::int64_t samples) : pooling_runner(c, G, samples) {}
};

}  // namespace lockstep::cpu_backend
