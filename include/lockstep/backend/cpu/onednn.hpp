// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <lockstep/core/config.hpp>

#include <array>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <utility>

#include <dlfcn.h>

#include <oneapi/dnnl/dnnl.h>
#include <oneapi/dnnl/dnnl_debug.h>
#include <oneapi/dnnl/dnnl_version.h>

#include <lockstep/backend/geometry.hpp>
#include <lockstep/core/error.hpp>
#include <lockstep/core/tensor.hpp>

/// \file
/// Wrappers of oneDNN, and the only code that depends on whether its interface is 2.x or 3.x. It uses the C interface
/// and almost no templates: the C++ interface would take every program longer to compile than the rest of this backend.
/// Functions that only build primitives are marked cold: their size counts, their speed does not.

namespace lockstep::onednn {

[[noreturn, gnu::cold, gnu::noinline]] inline void fail(dnnl_status_t status, const char* what) {
  throw backend_error("oneDNN", what,
                      std::string("status ") + std::to_string(int{status}) + " (" + dnnl_status2str(status) + ")");
}

/// Throws backend_error, naming what was attempted, unless `status` is dnnl_success.
inline void check(dnnl_status_t status, const char* what) {
  if (status != dnnl_success) [[unlikely]]
    fail(status, what);
}

/// Sole owner of one of oneDNN's objects, or of none.
template <class T, dnnl_status_t (*Destroy)(T)>
class handle {
 public:
  handle() = default;
  handle(handle&& other) noexcept : object_(std::exchange(other.object_, nullptr)) {}
  handle& operator=(handle&& other) noexcept {
    std::swap(object_, other.object_);
    return *this;
  }
  ~handle() {
    if (object_ != nullptr) Destroy(object_);  // cannot fail for a valid object
  }

  [[nodiscard]] T get() const noexcept { return object_; }
  /// Where a function of oneDNN stores a new object. The handle must be empty.
  [[nodiscard]] T* out() noexcept { return &object_; }
  explicit operator bool() const noexcept { return object_ != nullptr; }

 private:
  T object_ = nullptr;
};

using engine_handle = handle<dnnl_engine_t, dnnl_engine_destroy>;
using stream_handle = handle<dnnl_stream_t, dnnl_stream_destroy>;
using memory_handle = handle<dnnl_memory_t, dnnl_memory_destroy>;
using primitive_handle = handle<dnnl_primitive_t, dnnl_primitive_destroy>;
using primitive_desc = handle<dnnl_primitive_desc_t, dnnl_primitive_desc_destroy>;
using attributes = handle<dnnl_primitive_attr_t, dnnl_primitive_attr_destroy>;

/// Sets the number of OpenMP threads that oneDNN uses in the calling thread, and restores it at the end of the scope.
/// Does nothing when oneDNN does not run on OpenMP.
class thread_scope {
 public:
  explicit thread_scope(int threads) {
    const openmp& runtime = find_openmp();
    if (runtime.set == nullptr || runtime.get == nullptr) return;
    before_ = runtime.get();
    changed_ = before_ != threads;
    if (changed_) runtime.set(threads);
  }
  thread_scope(const thread_scope&) = delete;
  thread_scope& operator=(const thread_scope&) = delete;
  ~thread_scope() {
    if (changed_) find_openmp().set(before_);
  }

 private:
  struct openmp {
    void (*set)(int);
    int (*get)();
  };

  // Looked up, not linked: the OpenMP runtime is oneDNN's, and a second one in the process would be worse than none.
  [[gnu::noinline]] static const openmp& find_openmp() {
    static const openmp found{reinterpret_cast<void (*)(int)>(dlsym(RTLD_DEFAULT, "omp_set_num_threads")),
                              reinterpret_cast<int (*)()>(dlsym(RTLD_DEFAULT, "omp_get_max_threads"))};
    return found;
  }

  int before_ = 0;
  bool changed_ = false;
};

/// Stride, kernel, dilation and padding as oneDNN takes them: its dilation counts the gaps between taps, PyTorch's
/// their distance.
struct window {
  explicit window(const convolution_geometry& g)
      : stride{g.stride.height, g.stride.width},
        kernel{g.kernel.height, g.kernel.width},
        gaps{g.dilation.height - 1, g.dilation.width - 1},
        padding{g.padding.height, g.padding.width} {}
  explicit window(const pooling_geometry& g)
      : stride{g.stride.height, g.stride.width},
        kernel{g.kernel.height, g.kernel.width},
        gaps{},
        padding{g.padding.height, g.padding.width} {}

  dnnl_dims_t stride, kernel, gaps, padding;
};

enum class pass : std::uint8_t { forward, backward_data, backward_weights };

// The same functions for oneDNN 3 and for oneDNN 2. `forward` is the hint that backward passes need; `create_pooling`
// makes a backward pass when `forward` is not null. `create_product` makes a pass of a fully connected layer.
#if DNNL_VERSION_MAJOR >= 3

/// Non-owning pointer to a tensor's extents and order.
using desc_view = const_dnnl_memory_desc_t;
using desc_storage = handle<dnnl_memory_desc_t, dnnl_memory_desc_destroy>;

[[nodiscard]] inline desc_view view_of(const desc_storage& desc) noexcept { return desc.get(); }

[[nodiscard]] inline dnnl_status_t create(desc_storage& desc, int rank, const dnnl_dims_t& extents,
                                          dnnl_data_type_t type, dnnl_format_tag_t order) {
  return dnnl_memory_desc_create_with_tag(desc.out(), rank, extents, type, order);
}

[[nodiscard, gnu::cold]] inline dnnl_status_t create_convolution(primitive_desc& made, dnnl_engine_t engine, pass which,
                                                                 desc_view src, desc_view weights, desc_view bias,
                                                                 desc_view dst, const window& w,
                                                                 dnnl_primitive_desc_t forward,
                                                                 dnnl_primitive_attr_t attr) {
  const auto kind = dnnl_convolution_direct;
  switch (which) {
    case pass::backward_data:
      return dnnl_convolution_backward_data_primitive_desc_create(made.out(), engine, kind, src, weights, dst, w.stride,
                                                                  w.gaps, w.padding, w.padding, forward, attr);
    case pass::backward_weights:
      return dnnl_convolution_backward_weights_primitive_desc_create(
          made.out(), engine, kind, src, weights, bias, dst, w.stride, w.gaps, w.padding, w.padding, forward, attr);
    case pass::forward:
      break;
  }
  return dnnl_convolution_forward_primitive_desc_create(made.out(), engine, dnnl_forward_training, kind, src, weights,
                                                        bias, dst, w.stride, w.gaps, w.padding, w.padding, attr);
}

[[nodiscard, gnu::cold]] inline dnnl_status_t create_product(primitive_desc& made, dnnl_engine_t engine, pass which,
                                                             desc_view src, desc_view weights, desc_view bias,
                                                             desc_view dst, dnnl_primitive_desc_t forward,
                                                             dnnl_primitive_attr_t attr) {
  switch (which) {
    case pass::backward_data:
      return dnnl_inner_product_backward_data_primitive_desc_create(made.out(), engine, src, weights, dst, forward,
                                                                    attr);
    case pass::backward_weights:
      return dnnl_inner_product_backward_weights_primitive_desc_create(made.out(), engine, src, weights, bias, dst,
                                                                       forward, attr);
    case pass::forward:
      break;
  }
  return dnnl_inner_product_forward_primitive_desc_create(made.out(), engine, dnnl_forward_training, src, weights, bias,
                                                          dst, attr);
}

[[nodiscard, gnu::cold]] inline dnnl_status_t create_pooling(primitive_desc& made, dnnl_engine_t engine,
                                                             dnnl_alg_kind_t kind, desc_view src, desc_view dst,
                                                             const window& w, dnnl_primitive_desc_t forward,
                                                             dnnl_primitive_attr_t attr) {
  if (forward != nullptr)
    return dnnl_pooling_backward_primitive_desc_create(made.out(), engine, kind, src, dst, w.stride, w.kernel, w.gaps,
                                                       w.padding, w.padding, forward, attr);
  return dnnl_pooling_forward_primitive_desc_create(made.out(), engine, dnnl_forward_training, kind, src, dst, w.stride,
                                                    w.kernel, w.gaps, w.padding, w.padding, attr);
}

#else

using desc_view = const dnnl_memory_desc_t*;
using desc_storage = dnnl_memory_desc_t;

[[nodiscard]] inline desc_view view_of(const desc_storage& desc) noexcept { return &desc; }

[[nodiscard]] inline dnnl_status_t create(desc_storage& desc, int rank, const dnnl_dims_t& extents,
                                          dnnl_data_type_t type, dnnl_format_tag_t order) {
  return dnnl_memory_desc_init_by_tag(&desc, rank, extents, type, order);
}

[[nodiscard, gnu::cold]] inline dnnl_status_t create_convolution(primitive_desc& made, dnnl_engine_t engine, pass which,
                                                                 desc_view src, desc_view weights, desc_view bias,
                                                                 desc_view dst, const window& w,
                                                                 dnnl_primitive_desc_t forward,
                                                                 dnnl_primitive_attr_t attr) {
  const auto kind = dnnl_convolution_direct;
  dnnl_convolution_desc_t op;
  dnnl_status_t status = dnnl_success;
  switch (which) {
    case pass::forward:
      status = dnnl_dilated_convolution_forward_desc_init(&op, dnnl_forward_training, kind, src, weights, bias, dst,
                                                          w.stride, w.gaps, w.padding, w.padding);
      break;
    case pass::backward_data:
      status = dnnl_dilated_convolution_backward_data_desc_init(&op, kind, src, weights, dst, w.stride, w.gaps,
                                                                w.padding, w.padding);
      break;
    case pass::backward_weights:
      status = dnnl_dilated_convolution_backward_weights_desc_init(&op, kind, src, weights, bias, dst, w.stride, w.gaps,
                                                                   w.padding, w.padding);
      break;
  }
  return status != dnnl_success ? status : dnnl_primitive_desc_create(made.out(), &op, attr, engine, forward);
}

[[nodiscard, gnu::cold]] inline dnnl_status_t create_product(primitive_desc& made, dnnl_engine_t engine, pass which,
                                                             desc_view src, desc_view weights, desc_view bias,
                                                             desc_view dst, dnnl_primitive_desc_t forward,
                                                             dnnl_primitive_attr_t attr) {
  dnnl_inner_product_desc_t op;
  dnnl_status_t status = dnnl_success;
  switch (which) {
    case pass::forward:
      status = dnnl_inner_product_forward_desc_init(&op, dnnl_forward_training, src, weights, bias, dst);
      break;
    case pass::backward_data:
      status = dnnl_inner_product_backward_data_desc_init(&op, src, weights, dst);
      break;
    case pass::backward_weights:
      status = dnnl_inner_product_backward_weights_desc_init(&op, src, weights, bias, dst);
      break;
  }
  return status != dnnl_success ? status : dnnl_primitive_desc_create(made.out(), &op, attr, engine, forward);
}

[[nodiscard, gnu::cold]] inline dnnl_status_t create_pooling(primitive_desc& made, dnnl_engine_t engine,
                                                             dnnl_alg_kind_t kind, desc_view src, desc_view dst,
                                                             const window& w, dnnl_primitive_desc_t forward,
                                                             dnnl_primitive_attr_t attr) {
  dnnl_pooling_desc_t op;
  const auto status = forward != nullptr ? dnnl_pooling_backward_desc_init(&op, kind, src, dst, w.stride, w.kernel,
                                                                           w.padding, w.padding)
                                         : dnnl_pooling_forward_desc_init(&op, dnnl_forward_training, kind, src, dst,
                                                                          w.stride, w.kernel, w.padding, w.padding);
  return status != dnnl_success ? status : dnnl_primitive_desc_create(made.out(), &op, attr, engine, forward);
}

#endif

/// Extents, order and elements of a tensor; `dnnl_format_tag_any` leaves the order to the primitive.
class memory_desc {
 public:
  [[gnu::cold]] memory_desc(int rank, const dnnl_dims_t& extents, dnnl_format_tag_t order,
                            dnnl_data_type_t type = dnnl_f32) {
    check(create(desc_, rank, extents, type, order), "the description of a tensor");
  }
  [[nodiscard]] desc_view view() const noexcept { return view_of(desc_); }

 private:
  desc_storage desc_;
};

/// A batch of pictures, channels-last or, when `any`, in the order that the primitive chooses.
[[nodiscard, gnu::cold]] inline memory_desc pictures(std::int64_t n, std::int64_t channels, extent2 size, bool any,
                                                     dnnl_data_type_t type = dnnl_f32) {
  return {4, {n, channels, size.height, size.width}, any ? dnnl_format_tag_any : dnnl_nhwc, type};
}

[[nodiscard, gnu::cold]] inline memory_desc convolution_weights(const convolution_geometry& g, dnnl_format_tag_t one,
                                                                dnnl_format_tag_t several,
                                                                dnnl_data_type_t type = dnnl_f32) {
  if (g.groups == 1) return {4, {g.out_channels, g.in_channels, g.kernel.height, g.kernel.width}, one, type};
  return {5,
          {g.groups, g.out_channels / g.groups, g.in_channels / g.groups, g.kernel.height, g.kernel.width},
          several,
          type};
}
/// Weights in PyTorch's order, (groups,) out, in, height, width, or, when `tap_major`, in the order height, width, in,
/// (groups,) out.
[[nodiscard, gnu::cold]] inline memory_desc convolution_weights(const convolution_geometry& g, bool tap_major) {
  return convolution_weights(g, tap_major ? dnnl_hwio : dnnl_oihw, tap_major ? dnnl_hwigo : dnnl_goihw);
}
/// Weights in the order that the primitive chooses.
[[nodiscard, gnu::cold]] inline memory_desc any_convolution_weights(const convolution_geometry& g,
                                                                    dnnl_data_type_t type = dnnl_f32) {
  return convolution_weights(g, dnnl_format_tag_any, dnnl_format_tag_any, type);
}

/// Attributes of a primitive whose working memory the caller provides.
[[nodiscard, gnu::cold]] inline attributes make_attributes() {
  constexpr auto what = "the attributes of a primitive";
  attributes attr;
  check(dnnl_primitive_attr_create(attr.out()), what);
  check(dnnl_primitive_attr_set_scratchpad_mode(attr.get(), dnnl_scratchpad_mode_user), what);
  return attr;
}

/// Description of one tensor of a primitive; valid as long as `desc`.
[[nodiscard, gnu::cold]] inline desc_view query(const primitive_desc& desc, dnnl_query_t what) {
  const desc_view found = dnnl_primitive_desc_query_md(desc.get(), what, 0);
  if (found == nullptr) fail(dnnl_invalid_arguments, "a primitive's description of its tensors");
  return found;
}

/// True when oneDNN fell back to its unoptimised loops.
[[nodiscard, gnu::cold]] inline bool is_reference(const primitive_desc& desc) {
  const char* text = nullptr;
  check(dnnl_primitive_desc_query(desc.get(), dnnl_query_impl_info_str, 0, static_cast<void*>(&text)),
        "the name of an implementation");
  const std::string_view name{text};
  return name.starts_with("ref") || name.starts_with("simple");
}

/// A memory object over `bytes`, or, when null, without memory until its address is set.
[[nodiscard, gnu::cold]] inline memory_handle make_memory(desc_view desc, dnnl_engine_t engine, void* bytes = nullptr) {
  memory_handle made;
  check(dnnl_memory_create(made.out(), desc, engine, bytes), "a memory object");
  return made;
}

/// Extents and order of a memory object; valid as long as it is.
[[nodiscard, gnu::cold]] inline desc_view description_of(dnnl_memory_t memory) {
  desc_view found = nullptr;
  check(dnnl_memory_get_memory_desc(memory, &found), "a memory's description");
  return found;
}

/// Buffer for a tensor that only primitives touch.
[[nodiscard, gnu::cold]] inline aligned_buffer<std::byte> make_buffer(desc_view desc) {
  return aligned_buffer<std::byte>(static_cast<std::int64_t>(dnnl_memory_desc_get_size(desc)));
}

/// Points `memory` at `bytes`; the primitive decides whether it writes there.
inline void set_address(dnnl_memory_t memory, const void* bytes) {
  // NOLINTNEXTLINE(cppcoreguidelines-pro-type-const-cast): oneDNN's handles are not const
  check(dnnl_memory_set_data_handle(memory, const_cast<void*>(bytes)), "a memory's new address");
}

/// c (m x n) = op(a) op(b) + beta c, where op transposes for 'T' and not for 'N'; row-major, rows of c `row_c` apart.
inline void sgemm(char transpose_a, char transpose_b, std::int64_t m, std::int64_t n, std::int64_t k, const float* a,
                  std::int64_t row_a, const float* b, std::int64_t row_b, float beta, float* c, std::int64_t row_c) {
  check(dnnl_sgemm(transpose_a, transpose_b, m, n, k, 1.F, a, row_a, b, row_b, beta, c, row_c), "a matrix product");
}
/// The same with contiguous rows of c.
inline void sgemm(char transpose_a, char transpose_b, std::int64_t m, std::int64_t n, std::int64_t k, const float* a,
                  std::int64_t row_a, const float* b, std::int64_t row_b, float beta, float* c) {
  sgemm(transpose_a, transpose_b, m, n, k, a, row_a, b, row_b, beta, c, n);
}

}  // namespace lockstep::onednn
