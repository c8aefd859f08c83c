// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <lockstep/core/config.hpp>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <span>
#include <type_traits>
#include <utility>

#include <cuda/std/array>
#include <cuda/std/mdspan>

#include <lockstep/core/shape.hpp>
#include <lockstep/core/tensor.hpp>

/// \file
/// The dimension that scatter cuts and gather joins, and what both share: tensors, views and spans as strided blocks.

namespace lockstep {

/// Type of `along<Dim>`.
template <int Dim>
struct along_t {
  static_assert(Dim >= 0, "lockstep: along: dimensions count from 0");
};

/// Names a dimension for scatter, gather and gather_into, as torch's `dim`; 0 is the batch.
template <int Dim>
inline constexpr along_t<Dim> along{};

/// A view that need not be contiguous: part of a tensor along a dimension other than the first.
template <class T, class Extents>
using strided_view = ::cuda::std::mdspan<T, Extents, ::cuda::std::layout_stride>;

namespace detail {

// --- shapes ---------------------------------------------------------------------------------------------------------

/// `d` with `extent` in dimension `dim`.
constexpr dims with_extent(dims d, int dim, std::int64_t extent) {
  d.extent[dim] = extent;
  return d;
}

template <dims D>
struct types_of {
  template <int... Index>
  static shape<D[Index]...> make_shape(std::integer_sequence<int, Index...>);
  template <int... Index>
  static ::cuda::std::extents<std::int64_t, (D[Index] == dynamic ? ::cuda::std::dynamic_extent
                                                                 : static_cast<std::size_t>(D[Index]))...>
      make_extents(std::integer_sequence<int, Index...>);

  using extents_type = decltype(make_extents(std::make_integer_sequence<int, D.rank>{}));
  using shape_type = decltype(make_shape(std::make_integer_sequence<int, D.rank>{}));
};

/// True when a tensor can have these extents: only its first may be known at run time.
constexpr bool ownable(const dims& d) {
  for (int i = 1; i < d.rank; ++i)
    if (d[i] == dynamic) return false;
  return true;
}

/// A zero-filled tensor of extents D, with `samples` as its run-time extent.
template <class T, dims D>
auto make_tensor([[maybe_unused]] std::int64_t samples) {
  using made = tensor<std::remove_const_t<T>, typename types_of<D>::shape_type>;
  if constexpr (D.rank > 0 && D[0] == dynamic)
    return made(samples);
  else
    return made();
}

// --- tensors, views and spans ---------------------------------------------------------------------------------------

template <class T>
struct dense_traits : std::false_type {};

template <class T, class Shape>
struct dense_traits<tensor<T, Shape>> : std::true_type {
  using element = T;
  static constexpr bool contiguous = true;
  static constexpr bool is_span = false;
  static constexpr dims extents = Shape::extents;
};

template <class T, std::size_t... E, class Layout>
  requires(sizeof...(E) <= dims::max_rank)
struct dense_traits<::cuda::std::mdspan<T, ::cuda::std::extents<std::int64_t, E...>, Layout>> : std::true_type {
  using element = std::remove_const_t<T>;
  static constexpr bool contiguous = std::is_same_v<Layout, ::cuda::std::layout_right>;
  static constexpr bool is_span = false;
  static constexpr dims extents = [] {
    if constexpr (sizeof...(E) == 0)
      return dims{};
    else
      return dims{(E == ::cuda::std::dynamic_extent ? dynamic : static_cast<std::int64_t>(E))...};
  }();
};

template <class T>
struct dense_traits<std::span<T>> : std::true_type {
  using element = std::remove_const_t<T>;
  static constexpr bool contiguous = true;
  static constexpr bool is_span = true;
  static constexpr dims extents{dynamic};
};

template <class T>
inline constexpr bool is_dense = dense_traits<std::remove_cv_t<T>>::value;

template <class T>
consteval dims extents_of_dense() {
  if constexpr (is_dense<T>)
    return dense_traits<std::remove_cv_t<T>>::extents;
  else
    return dims{};
}

/// True for a type with a batch dimension: a first extent known only at run time.
template <class T>
inline constexpr bool is_batch = [] {
  constexpr dims extents = extents_of_dense<T>();
  return extents.rank > 0 && extents[0] == dynamic;
}();

/// The Along of a caller who names no dimension: cuts and joins only batches, along their first dimension.
struct batches_only {};

template <class Along>
inline constexpr int dimension = 0;
template <int Dim>
inline constexpr int dimension<along_t<Dim>> = Dim;

/// Whether T is cut or joined. With a named dimension every tensor that is not a scalar is, as in torch.
template <class T, class Along>
inline constexpr bool is_cut = is_dense<T> && extents_of_dense<T>().rank > 0;
template <class T>
inline constexpr bool is_cut<T, batches_only> = is_batch<T>;

/// Where elements lie: extents, and strides in elements, all known at run time.
template <class T>
struct strided_block {
  T* data;
  dims extents;
  dims strides;
};

template <class T>
strided_block<T> contiguous_block(T* data, dims extents) {
  dims strides = extents;
  std::int64_t stride = 1;
  for (int i = extents.rank; i-- > 0;) {
    strides.extent[i] = stride;
    stride *= extents[i];
  }
  return {data, extents, strides};
}

template <class T, class Shape>
auto block_of(tensor<T, Shape>& t) {
  dims extents = Shape::extents;
  if constexpr (Shape::is_dynamic) extents.extent[0] = t.samples();
  return contiguous_block(t.data(), extents);
}
template <class T, class Shape>
auto block_of(const tensor<T, Shape>& t) {
  dims extents = Shape::extents;
  if constexpr (Shape::is_dynamic) extents.extent[0] = t.samples();
  return contiguous_block(t.data(), extents);
}
template <class T, class E, class Layout>
strided_block<T> block_of(const ::cuda::std::mdspan<T, E, Layout>& t) {
  strided_block<T> block{t.data_handle(), {}, {}};
  block.extents.rank = block.strides.rank = static_cast<int>(E::rank());
  if constexpr (E::rank() > 0) {
    for (std::size_t i = 0; i < E::rank(); ++i) {
      block.extents.extent[i] = t.extent(i);
      block.strides.extent[i] = t.stride(i);
    }
  }
  return block;
}
template <class T>
strided_block<T> block_of(std::span<T> t) {
  return contiguous_block(t.data(), dims{static_cast<std::int64_t>(t.size())});
}

/// The part [first, first + count) along a dimension.
template <class T>
strided_block<T> sub_block(strided_block<T> whole, int dim, std::int64_t first, std::int64_t count) {
  // An empty tensor has no elements, and its pointer may be null.
  if (whole.extents.size() != 0) whole.data += first * whole.strides[dim];
  whole.extents.extent[dim] = count;
  return whole;
}

/// Copies a block in pieces as long as both sides are contiguous. Both sides have equal extents, and are either the
/// same memory or do not overlap.
template <class T>
void copy_block(const strided_block<const T>& from, const strided_block<T>& to) {
  const dims& extents = from.extents;
  std::int64_t piece = 1;
  int outer = extents.rank;
  while (outer > 0 && from.strides[outer - 1] == piece && to.strides[outer - 1] == piece) piece *= extents[--outer];
  if (extents.size() == 0) return;

  dims index;
  for (;;) {
    const T* source = from.data;
    T* destination = to.data;
    for (int i = 0; i < outer; ++i) {
      source += index[i] * from.strides[i];
      destination += index[i] * to.strides[i];
    }
    if (source != destination) std::copy_n(source, piece, destination);
    int i = outer - 1;
    for (; i >= 0 && ++index.extent[i] == extents[i]; --i) index.extent[i] = 0;
    if (i < 0) return;
  }
}

template <class T>
strided_block<const T> constant(const strided_block<T>& block) {
  return {block.data, block.extents, block.strides};
}

/// A view of a block, with extents D. A contiguous view has tensor_view's type.
template <dims D, bool Contiguous, class T>
auto block_view(const strided_block<T>& block) {
  using extents_type = typename types_of<D>::extents_type;
  return [&]<int... Index>(std::integer_sequence<int, Index...>) {
    const extents_type extents(block.extents[Index]...);
    if constexpr (Contiguous) {
      return ::cuda::std::mdspan<T, extents_type>(block.data, extents);
    } else {
      const ::cuda::std::array<std::int64_t, static_cast<std::size_t>(D.rank)> strides{block.strides[Index]...};
      return strided_view<T, extents_type>(block.data, {extents, strides});
    }
  }(std::make_integer_sequence<int, D.rank>{});
}

}  // namespace detail

}  // namespace lockstep
