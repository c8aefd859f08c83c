// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <lockstep/core/config.hpp>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <new>
#include <span>
#include <type_traits>
#include <utility>

#include <sys/mman.h>
#include <cuda/std/mdspan>

#include <lockstep/core/error.hpp>
#include <lockstep/core/shape.hpp>

namespace lockstep {

/// The least alignment of a buffer in bytes: a cache line, and the widest vector register.
inline constexpr std::size_t buffer_alignment = 64;

/// Buffers of at least this many bytes are aligned to it, and the constructor asks Linux to back them with pages of
/// that size: a pass over parameters or activations then misses the TLB 512 times less often.
inline constexpr std::size_t huge_page_bytes = std::size_t{2} << 20U;

/// An owning, zero-filled, aligned array of trivially copyable elements. Every tensor allocates through it.
template <class T>
class aligned_buffer {
  static_assert(std::is_trivially_copyable_v<T>);

 public:
  aligned_buffer() = default;

  /// Throws shape_error when `size` is negative or its byte count overflows, std::bad_alloc when memory runs out.
  explicit aligned_buffer(std::int64_t size) : size_(size) {
    if (size < 0) throw shape_error("aligned_buffer", "a size of zero or more", std::to_string(size));
    if (size == 0) return;
    const auto bytes = static_cast<std::size_t>(checked_multiply(size, sizeof(T)));
    const std::align_val_t alignment{bytes >= huge_page_bytes ? huge_page_bytes : buffer_alignment};
    data_ = {static_cast<T*>(::operator new(bytes, alignment)), release{alignment}};
    // A refusal by the system costs speed, never correctness.
    // What does not fill a page stays on small ones, of which only those that are used take memory.
    if (const auto whole = bytes / huge_page_bytes * huge_page_bytes; whole > 0)
      static_cast<void>(madvise(data_.get(), whole, MADV_HUGEPAGE));
    std::fill_n(data_.get(), size, T{});
  }

  aligned_buffer(aligned_buffer&& other) noexcept
      : data_(std::move(other.data_)), size_(std::exchange(other.size_, 0)) {}
  aligned_buffer& operator=(aligned_buffer&& other) noexcept {
    data_ = std::move(other.data_);
    size_ = std::exchange(other.size_, 0);
    return *this;
  }
  aligned_buffer(const aligned_buffer&) = delete;
  aligned_buffer& operator=(const aligned_buffer&) = delete;
  ~aligned_buffer() = default;

  [[nodiscard]] T* data() noexcept { return data_.get(); }
  [[nodiscard]] const T* data() const noexcept { return data_.get(); }
  [[nodiscard]] std::int64_t size() const noexcept { return size_; }
  [[nodiscard]] std::span<T> span() noexcept { return {data_.get(), static_cast<std::size_t>(size_)}; }
  [[nodiscard]] std::span<const T> span() const noexcept { return {data_.get(), static_cast<std::size_t>(size_)}; }

 private:
  struct release {
    std::align_val_t alignment{buffer_alignment};

    void operator()(T* pointer) const noexcept { ::operator delete(pointer, alignment); }
  };

  std::unique_ptr<T[], release> data_;
  std::int64_t size_ = 0;
};

namespace detail {

template <class Shape>
struct extents_of;

template <std::int64_t... Extents>
struct extents_of<shape<Extents...>> {
  using type = ::cuda::std::extents<std::int64_t, (Extents == dynamic ? ::cuda::std::dynamic_extent
                                                                      : static_cast<std::size_t>(Extents))...>;
};

}  // namespace detail

/// A non-owning view in row-major order (PyTorch's contiguous order) with the shape's static extents.
template <class T, class Shape>
using tensor_view = ::cuda::std::mdspan<T, typename detail::extents_of<Shape>::type>;

/// An owning tensor in row-major order. A shape whose first extent is `dynamic` is a batch of samples, and its
/// constructor takes the number of samples.
template <class T, class Shape>
class tensor {
 public:
  using value_type = T;
  using shape_type = Shape;
  using view_type = tensor_view<T, Shape>;
  using const_view_type = tensor_view<const T, Shape>;

  tensor()
    requires(!Shape::is_dynamic)
      : buffer_(Shape::static_size) {}

  tensor()
    requires(Shape::is_dynamic)
  = default;

  /// Throws shape_error when `samples` is negative or the size overflows.
  explicit tensor(std::int64_t samples)
    requires(Shape::is_dynamic)
      : samples_(samples) {
    if (samples < 0) throw shape_error("tensor", "zero samples or more", std::to_string(samples));
    buffer_ = aligned_buffer<T>(checked_multiply(samples, Shape::static_size));
  }

  tensor(const tensor& other) : samples_(other.samples_), buffer_(other.size()) {
    std::copy_n(other.data(), other.size(), data());
  }
  tensor(tensor&& other) noexcept : samples_(std::exchange(other.samples_, 0)), buffer_(std::move(other.buffer_)) {}
  tensor& operator=(tensor other) noexcept {
    std::swap(samples_, other.samples_);
    std::swap(buffer_, other.buffer_);
    return *this;
  }
  ~tensor() = default;

  [[nodiscard]] T* data() noexcept { return buffer_.data(); }
  [[nodiscard]] const T* data() const noexcept { return buffer_.data(); }
  [[nodiscard]] std::int64_t size() const noexcept { return buffer_.size(); }
  [[nodiscard]] T* begin() noexcept { return data(); }
  [[nodiscard]] T* end() noexcept { return data() + size(); }
  [[nodiscard]] const T* begin() const noexcept { return data(); }
  [[nodiscard]] const T* end() const noexcept { return data() + size(); }

  /// Length of the first dimension.
  [[nodiscard]] std::int64_t samples() const noexcept
    requires(Shape::rank > 0)
  {
    return Shape::is_dynamic ? samples_ : Shape::extents.extent[0];
  }

  [[nodiscard]] view_type view() noexcept { return make_view<view_type>(data()); }
  [[nodiscard]] const_view_type view() const noexcept { return make_view<const_view_type>(data()); }

  // NOLINTBEGIN(google-explicit-constructor): a tensor may stand wherever a view of it may.
  operator view_type() noexcept { return view(); }
  operator const_view_type() const noexcept { return view(); }
  // NOLINTEND(google-explicit-constructor)

  /// Returns the element at the given indices, which are not checked, as in mdspan.
  template <class... Index>
  [[nodiscard]] T& operator()(Index... index) noexcept {
    return view()(static_cast<std::int64_t>(index)...);
  }
  template <class... Index>
  [[nodiscard]] const T& operator()(Index... index) const noexcept {
    return view()(static_cast<std::int64_t>(index)...);
  }

 private:
  template <class View, class Pointer>
  [[nodiscard]] View make_view(Pointer pointer) const noexcept {
    if constexpr (Shape::is_dynamic)
      return View(pointer, samples_);
    else
      return View(pointer);
  }

  std::int64_t samples_ = 0;
  aligned_buffer<T> buffer_;
};

/// A batch: a run-time number of samples, each of the given static extents.
template <class T, std::int64_t... Sample>
using batch_of = tensor<T, shape<dynamic, Sample...>>;

/// A view of a batch.
template <class T, std::int64_t... Sample>
using batch_view = tensor_view<T, shape<dynamic, Sample...>>;

}  // namespace lockstep
