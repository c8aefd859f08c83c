// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <algorithm>
#include <array>
#include <cstdint>
#include <optional>
#include <string_view>
#include <vector>

#include <dlfcn.h>

#include <oneapi/dnnl/dnnl.hpp>

#include <lockstep/backend/geometry.hpp>
#include <lockstep/core/error.hpp>
#include <lockstep/core/tensor.hpp>

/// \file
/// Everything that touches oneDNN's own types, and the only place where its 2.x and 3.x interfaces differ.

namespace lockstep::onednn {

using tag = dnnl::memory::format_tag;

/// Runs `f` and turns oneDNN's exception into ours, naming the primitive.
template <class F>
decltype(auto) checked(std::string_view what, F&& f) {
  try {
    return f();
  } catch (const dnnl::error& e) {
    throw backend_error("oneDNN", std::string(what), std::string("status ") + std::to_string(int{e.status}) + " (" +
                                                         e.what() + ")");
  }
}

/// Number of OpenMP threads that oneDNN uses in the calling thread, set for a scope and then restored. A no-op
/// with a oneDNN that does not run on OpenMP.
class thread_scope {
 public:
  explicit thread_scope(int threads) {
    if (set_function() == nullptr || get_function() == nullptr) return;
    before_ = get_function()();
    if (before_ != threads) set_function()(threads);
    changed_ = before_ != threads;
  }
  thread_scope(const thread_scope&) = delete;
  thread_scope& operator=(const thread_scope&) = delete;
  ~thread_scope() {
    if (changed_) set_function()(before_);
  }

 private:
  // Looked up, not linked: the OpenMP runtime is oneDNN's, and a second one in the process would be worse than none.
  static auto set_function() -> void (*)(int) {
    static const auto function = reinterpret_cast<void (*)(int)>(dlsym(RTLD_DEFAULT, "omp_set_num_threads"));
    return function;
  }
  static auto get_function() -> int (*)() {
    static const auto function = reinterpret_cast<int (*)()>(dlsym(RTLD_DEFAULT, "omp_get_max_threads"));
    return function;
  }

  int before_ = 0;
  bool changed_ = false;
};

/// One sample batch in channels-last order.
[[nodiscard]] inline dnnl::memory::desc channels_last(std::int64_t n, std::int64_t channels, extent2 size) {
  return {{n, channels, size.height, size.width}, dnnl::memory::data_type::f32, tag::nhwc};
}

/// The same extents in whatever order the primitive likes best.
[[nodiscard]] inline dnnl::memory::desc any_order(std::int64_t n, std::int64_t channels, extent2 size) {
  return {{n, channels, size.height, size.width}, dnnl::memory::data_type::f32, tag::any};
}

/// Weights in PyTorch's order, (groups,) out, in, height, width, or in any order.
[[nodiscard]] inline dnnl::memory::desc convolution_weights(const convolution_geometry& g, bool any) {
  const auto type = dnnl::memory::data_type::f32;
  if (g.groups == 1)
    return {{g.out_channels, g.in_channels, g.kernel.height, g.kernel.width}, type, any ? tag::any : tag::oihw};
  return {{g.groups, g.out_channels / g.groups, g.in_channels / g.groups, g.kernel.height, g.kernel.width},
          type,
          any ? tag::any : tag::goihw};
}

[[nodiscard]] inline dnnl::memory::desc vector_desc(std::int64_t n) {
  return {{n}, dnnl::memory::data_type::f32, tag::x};
}

[[nodiscard]] inline dnnl::primitive_attr attributes(bool relu = false) {
  dnnl::primitive_attr attr;
  attr.set_scratchpad_mode(dnnl::scratchpad_mode::user);
  if (relu) {
    dnnl::post_ops post;
#if DNNL_VERSION_MAJOR >= 3
    post.append_eltwise(dnnl::algorithm::eltwise_relu, 0.F, 0.F);
#else
    post.append_eltwise(1.F, dnnl::algorithm::eltwise_relu, 0.F, 0.F);
#endif
    attr.set_post_ops(post);
  }
  return attr;
}

struct convolution_descs {
  dnnl::memory::desc src, weights, bias, dst;
};

struct window_dims {
  dnnl::memory::dims stride, dilation, padding;
};

[[nodiscard]] inline window_dims window(const convolution_geometry& g) {
  // oneDNN counts the gaps between taps, PyTorch the distance.
  return {{g.stride.height, g.stride.width},
          {g.dilation.height - 1, g.dilation.width - 1},
          {g.padding.height, g.padding.width}};
}

using convolution_forward_desc = dnnl::convolution_forward::primitive_desc;
using convolution_data_desc = dnnl::convolution_backward_data::primitive_desc;
using convolution_weights_desc = dnnl::convolution_backward_weights::primitive_desc;

[[nodiscard]] inline convolution_forward_desc describe_forward(const dnnl::engine& engine,
                                                               const convolution_geometry& g,
                                                               const convolution_descs& d) {
  const auto w = window(g);
  const auto kind = dnnl::prop_kind::forward_training;
  const auto algorithm = dnnl::algorithm::convolution_direct;
  const auto attr = attributes(g.relu);
#if DNNL_VERSION_MAJOR >= 3
  if (!g.bias)
    return {engine, kind, algorithm, d.src, d.weights, d.dst, w.stride, w.dilation, w.padding, w.padding, attr};
  return {engine, kind, algorithm, d.src, d.weights, d.bias, d.dst, w.stride, w.dilation, w.padding, w.padding, attr};
#else
  if (!g.bias)
    return {{kind, algorithm, d.src, d.weights, d.dst, w.stride, w.dilation, w.padding, w.padding}, attr, engine};
  return {{kind, algorithm, d.src, d.weights, d.bias, d.dst, w.stride, w.dilation, w.padding, w.padding},
          attr,
          engine};
#endif
}

[[nodiscard]] inline convolution_data_desc describe_backward_data(const dnnl::engine& engine,
                                                                  const convolution_geometry& g,
                                                                  const convolution_descs& d,
                                                                  const convolution_forward_desc& hint) {
  const auto w = window(g);
  const auto algorithm = dnnl::algorithm::convolution_direct;
#if DNNL_VERSION_MAJOR >= 3
  return {engine,    algorithm, d.src, d.weights,  d.dst, w.stride, w.dilation,
          w.padding, w.padding, hint,  attributes()};
#else
  return {{algorithm, d.src, d.weights, d.dst, w.stride, w.dilation, w.padding, w.padding},
          attributes(),
          engine,
          hint};
#endif
}

[[nodiscard]] inline convolution_weights_desc describe_backward_weights(const dnnl::engine& engine,
                                                                        const convolution_geometry& g,
                                                                        const convolution_descs& d,
                                                                        const convolution_forward_desc& hint) {
  const auto w = window(g);
  const auto algorithm = dnnl::algorithm::convolution_direct;
#if DNNL_VERSION_MAJOR >= 3
  if (!g.bias)
    return {engine,    algorithm, d.src, d.weights,  d.dst, w.stride, w.dilation,
            w.padding, w.padding, hint,  attributes()};
  return {engine,     algorithm, d.src,     d.weights, d.bias,      d.dst, w.stride,
          w.dilation, w.padding, w.padding, hint,      attributes()};
#else
  if (!g.bias)
    return {{algorithm, d.src, d.weights, d.dst, w.stride, w.dilation, w.padding, w.padding},
            attributes(),
            engine,
            hint};
  return {{algorithm, d.src, d.weights, d.bias, d.dst, w.stride, w.dilation, w.padding, w.padding},
          attributes(),
          engine,
          hint};
#endif
}

using pooling_forward_desc = dnnl::pooling_forward::primitive_desc;
using pooling_backward_desc = dnnl::pooling_backward::primitive_desc;

[[nodiscard]] inline dnnl::algorithm pooling_algorithm(pooling_kind kind) {
  switch (kind) {
    case pooling_kind::maximum: return dnnl::algorithm::pooling_max;
    case pooling_kind::average_include_padding: return dnnl::algorithm::pooling_avg_include_padding;
    case pooling_kind::average_exclude_padding: break;
  }
  return dnnl::algorithm::pooling_avg_exclude_padding;
}

[[nodiscard]] inline pooling_forward_desc describe_forward(const dnnl::engine& engine, const pooling_geometry& g,
                                                           const dnnl::memory::desc& src,
                                                           const dnnl::memory::desc& dst) {
  const dnnl::memory::dims stride{g.stride.height, g.stride.width};
  const dnnl::memory::dims kernel{g.kernel.height, g.kernel.width};
  const dnnl::memory::dims padding{g.padding.height, g.padding.width};
  const auto kind = dnnl::prop_kind::forward_training;
#if DNNL_VERSION_MAJOR >= 3
  const dnnl::memory::dims dilation{0, 0};
  return {engine, kind,     pooling_algorithm(g.kind), src,     dst, stride,
          kernel, dilation, padding,                   padding, attributes()};
#else
  return {{kind, pooling_algorithm(g.kind), src, dst, stride, kernel, padding, padding}, attributes(), engine};
#endif
}

[[nodiscard]] inline pooling_backward_desc describe_backward(const dnnl::engine& engine, const pooling_geometry& g,
                                                             const dnnl::memory::desc& src,
                                                             const dnnl::memory::desc& dst,
                                                             const pooling_forward_desc& hint) {
  const dnnl::memory::dims stride{g.stride.height, g.stride.width};
  const dnnl::memory::dims kernel{g.kernel.height, g.kernel.width};
  const dnnl::memory::dims padding{g.padding.height, g.padding.width};
#if DNNL_VERSION_MAJOR >= 3
  const dnnl::memory::dims dilation{0, 0};
  return {engine, pooling_algorithm(g.kind), src,  dst,         stride, kernel, dilation,
          padding, padding,                  hint, attributes()};
#else
  return {{pooling_algorithm(g.kind), src, dst, stride, kernel, padding, padding}, attributes(), engine, hint};
#endif
}

/// A memory object that owns no bytes; its address is set before each execution.
[[nodiscard]] inline dnnl::memory unbound(const dnnl::memory::desc& desc, const dnnl::engine& engine) {
  return {desc, engine, nullptr};
}

/// A primitive with its arguments laid out once, so that a step neither builds a map nor allocates on our side.
class call {
 public:
  call() = default;
  explicit call(dnnl::primitive primitive) : primitive_(std::move(primitive)) {}

  void add(int argument, const dnnl::memory& memory) {
    arguments_.at(static_cast<std::size_t>(count_++)) = {argument, memory.get()};
  }

  void operator()(const dnnl::stream& stream, const char* what) const {
    const auto status = dnnl_primitive_execute(primitive_.get(), stream.get(), count_, arguments_.data());
    if (status != dnnl_success)
      throw backend_error("oneDNN", std::string(what), std::string("status ") + std::to_string(int{status}));
  }

 private:
  dnnl::primitive primitive_;
  std::array<dnnl_exec_arg_t, 6> arguments_{};
  int count_ = 0;
};

/// Working memory of the primitives of one op. They never run at the same time and so share the largest one's bytes.
class scratch {
 public:
  void add(call& primitive, const dnnl::memory::desc& desc, const dnnl::engine& engine) {
    const auto size = static_cast<std::int64_t>(desc.get_size());
    if (size > buffer_.size()) {
      buffer_ = aligned_buffer<std::byte>(size);
      for (const auto& user : users_) dnnl_memory_set_data_handle(user.get(), buffer_.data());
    }
    users_.emplace_back(desc, engine, buffer_.data());
    primitive.add(DNNL_ARG_SCRATCHPAD, users_.back());
  }

 private:
  aligned_buffer<std::byte> buffer_;
  std::vector<dnnl::memory> users_;
};

/// An operand of a primitive: the caller's bytes where the primitive reads the caller's order, else a buffer of our
/// own with a reorder before (`load`) or behind (`store`) the primitive.
class operand {
 public:
  operand() = default;
  operand(const dnnl::engine& engine, const dnnl::memory::desc& outside, const dnnl::memory::desc& inside, bool read)
      : outside_(unbound(outside, engine)) {
    if (outside == inside) {
      inside_ = outside_;
      return;
    }
    buffer_ = aligned_buffer<std::byte>(static_cast<std::int64_t>(inside.get_size()));
    inside_ = dnnl::memory(inside, engine, buffer_.data());
    const auto& from = read ? outside_ : inside_;
    const auto& to = read ? inside_ : outside_;
    reorder_.emplace(dnnl::reorder(dnnl::reorder::primitive_desc(from, to)));
    reorder_->add(DNNL_ARG_FROM, from);
    reorder_->add(DNNL_ARG_TO, to);
  }

  /// What the primitive is given.
  [[nodiscard]] const dnnl::memory& memory() const { return inside_; }

  void load(const dnnl::stream& stream, const float* bytes) {
    bind(const_cast<float*>(bytes));  // NOLINT(cppcoreguidelines-pro-type-const-cast): oneDNN's handles are not const
    if (reorder_) (*reorder_)(stream, "reorder");
  }
  void bind(float* bytes) { dnnl_memory_set_data_handle(outside_.get(), bytes); }
  void store(const dnnl::stream& stream) {
    if (reorder_) (*reorder_)(stream, "reorder");
  }

 private:
  dnnl::memory outside_, inside_;
  aligned_buffer<std::byte> buffer_;
  std::optional<call> reorder_;
};

/// True when oneDNN fell back to its unoptimised loops.
[[nodiscard]] inline bool is_reference(const char* implementation) {
  const std::string_view name{implementation};
  return name.starts_with("ref") || name.starts_with("simple");
}

}  // namespace lockstep::onednn
