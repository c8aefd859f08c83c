// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <lockstep/core/config.hpp>

#include <array>
#include <cstddef>
#include <memory>
#include <type_traits>

/// \file
/// Which multidimensional views, of whatever library, are plain memory: elements one after the other in row-major
/// order, read as they are. The standard's mdspan, CCCL's and Kokkos' have types of their own for the same layouts and
/// accessors, so that these are known by what they do.

namespace lockstep::detail {

template <class T>
concept mdspan_like = requires(const T& t) {
  typename T::element_type;
  typename T::extents_type;
  typename T::layout_type;
  t.data_handle();
  t.extent(0);
};

/// As many extents of 2 as E has extents.
template <class E>
struct extents_of_two;
template <template <class, std::size_t...> class Extents, class Index, std::size_t... E>
struct extents_of_two<Extents<Index, E...>> {
  using type = Extents<Index, (static_cast<void>(E), std::size_t{2})...>;
};

/// Whether a layout puts a block of extents 2 in row-major order and leaves no holes.
template <class Layout, class Extents>
constexpr bool lays_row_major() {
  using extents = typename extents_of_two<Extents>::type;
  using mapping = typename Layout::template mapping<extents>;
  if constexpr (extents::rank() == 0 || !mapping::is_always_strided() || !mapping::is_always_exhaustive()) {
    return extents::rank() == 0;
  } else {
    const mapping places{extents{}};
    std::size_t stride = 1;
    for (std::size_t i = extents::rank(); i-- > 0; stride *= 2)
      if (static_cast<std::size_t>(places.stride(i)) != stride) return false;
    return true;
  }
}

/// A view in row-major order without holes.
template <class T>
concept row_major = requires {
  requires std::bool_constant<lays_row_major<typename T::layout_type, typename T::extents_type>()>::value;
};

/// Whether an accessor reads element i of a pointer where C++ does.
template <class Accessor>
constexpr bool accesses_plainly() {
  using element = typename Accessor::element_type;
  if constexpr (!std::is_empty_v<Accessor> || !std::is_same_v<typename Accessor::data_handle_type, element*> ||
                !std::is_same_v<typename Accessor::reference, element&>) {
    return false;
  } else {
    std::array<std::remove_const_t<element>, 3> some{};
    element* const first = some.data();
    const Accessor accessor{};
    return std::addressof(accessor.access(first, 2)) == first + 2 && accessor.offset(first, 1) == first + 1;
  }
}

/// A view whose elements are those at its pointer, unchanged: one with a default accessor, or with none.
template <class T>
concept plainly_accessed = !requires { typename T::accessor_type; } || requires {
  requires std::bool_constant<accesses_plainly<typename T::accessor_type>()>::value;
};

}  // namespace lockstep::detail
