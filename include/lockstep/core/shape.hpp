// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <lockstep/core/config.hpp>

#include <cstdint>
#include <limits>
#include <string>
#include <utility>

#include <lockstep/core/error.hpp>

namespace lockstep {

/// The extent of a dimension whose length is known only at run time (the batch, always the first).
inline constexpr std::int64_t dynamic = -1;

/// Returns a * b; both are non-negative. Throws shape_error on overflow; in a constant expression overflow is a compile
/// error.
[[nodiscard]] constexpr std::int64_t checked_multiply(std::int64_t a, std::int64_t b) {
  if (a != 0 && b > (std::numeric_limits<std::int64_t>::max)() / a)
    throw shape_error("shape", "a product of extents that fits 64 bits", "an overflow");
  return a * b;
}

/// Returns a + b; both are non-negative. Throws shape_error on overflow.
[[nodiscard]] constexpr std::int64_t checked_add(std::int64_t a, std::int64_t b) {
  if (b > (std::numeric_limits<std::int64_t>::max)() - a)
    throw shape_error("shape", "a sum of extents that fits 64 bits", "an overflow");
  return a + b;
}

/// The extents of one sample as a value that can be a template argument. Networks compute with values, so that a
/// hundred layers cost the compiler a loop and not a hundred nested types.
struct dims {
  static constexpr int max_rank = 5;

  int rank = 0;
  std::int64_t extent[max_rank]{};

  constexpr dims() = default;

  template <class... Extents>
    requires(sizeof...(Extents) > 0 && sizeof...(Extents) <= max_rank)
  constexpr explicit dims(Extents... extents)
      : rank(sizeof...(Extents)), extent{static_cast<std::int64_t>(extents)...} {}

  [[nodiscard]] constexpr std::int64_t operator[](int i) const { return extent[i]; }

  /// Number of elements; 1 for rank 0.
  [[nodiscard]] constexpr std::int64_t size() const {
    std::int64_t product = 1;
    for (int i = 0; i < rank; ++i) product = checked_multiply(product, extent[i]);
    return product;
  }

  friend constexpr bool operator==(const dims&, const dims&) = default;
};

/// Returns text such as `3x32x32`, or `scalar` for rank 0; a dynamic extent reads `B`.
[[nodiscard]] inline std::string to_string(const dims& d) {
  std::string text;
  for (int i = 0; i < d.rank; ++i) {
    if (i != 0) text += 'x';
    text += d[i] == dynamic ? std::string("B") : std::to_string(d[i]);
  }
  return text.empty() ? std::string("scalar") : text;
}

/// A shape as a type. Extents are positive; the first may be `dynamic`.
template <std::int64_t... Extents>
struct shape {
  static_assert(sizeof...(Extents) <= dims::max_rank, "lockstep: shape: at most five dimensions");

  static constexpr int rank = sizeof...(Extents);
  static constexpr dims extents = [] {
    if constexpr (rank == 0)
      return dims{};
    else
      return dims{Extents...};
  }();
  static constexpr bool is_dynamic = rank > 0 && extents.extent[0] == dynamic;

  /// The product of all extents except the dynamic one.
  static constexpr std::int64_t static_size = [] {
    std::int64_t product = 1;
    for (int i = is_dynamic ? 1 : 0; i < rank; ++i) product = checked_multiply(product, extents.extent[i]);
    return product;
  }();

  static_assert(
      [] {
        for (int i = is_dynamic ? 1 : 0; i < rank; ++i)
          if (extents.extent[i] <= 0) return false;
        return true;
      }(),
      "lockstep: shape: extents are positive, and only the first may be lockstep::dynamic");
};

namespace detail {

template <dims D>
struct batch_shape_of {
  template <int Index>
  static constexpr std::int64_t extent = D[Index];

  template <int... Index>
  static shape<dynamic, extent<Index>...> make(std::integer_sequence<int, Index...>);

  using type = decltype(make(std::make_integer_sequence<int, D.rank>{}));
};

}  // namespace detail

/// The shape of a batch of samples with extents D.
template <dims D>
using batch_shape = typename detail::batch_shape_of<D>::type;

}  // namespace lockstep
