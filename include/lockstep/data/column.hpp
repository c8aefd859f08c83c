// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <array>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <iterator>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#include <lockstep/core/error.hpp>
#include <lockstep/core/shape.hpp>
#include <lockstep/data/field.hpp>
#include <lockstep/io/message.hpp>

/// \file
/// Turns a user's data (vectors, arrays, arrays of arrays, mdspans) into the elements of a field.

namespace lockstep::data::detail {

/// Converts a number to T. Throws value_error when T is a whole-number type that cannot hold it; a real number for such
/// a T does not compile.
template <class T, class U>
[[nodiscard]] constexpr T converted(U value) {
  static_assert(std::is_arithmetic_v<U>, "lockstep: dataset: the elements of a field are numbers");
  static_assert(std::is_floating_point_v<T> || std::is_integral_v<U>,
                "lockstep: dataset: a field of whole numbers takes whole numbers; round real ones first");
  if constexpr (std::is_integral_v<T> && !std::same_as<U, bool>) {
    const auto result = static_cast<T>(value);
    if (static_cast<U>(result) != value || (result < T{}) != (value < U{}))
      throw value_error("dataset", "whole numbers that the field's type can hold", std::to_string(value));
    return result;
  } else {
    return static_cast<T>(value);
  }
}

/// Anything that a range-based for loop can walk over. (The concepts of <ranges> would cost every user's build a tenth
/// of a second.)
template <class R>
concept iterable = requires(R& range) {
  *std::begin(range);
  std::begin(range) != std::end(range);
};

/// Any mdspan: the standard's, CCCL's or Kokkos's.
template <class S>
concept mdspan_like = requires(const S& s) {
  typename S::extents_type;
  typename S::element_type;
  { S::rank() } -> std::convertible_to<std::size_t>;
  s.extent(0);
  s.mapping();
};

template <class S>
concept has_mdspan_view = requires(const S& s) {
  { s.view() } -> mdspan_like;
};

template <class S, class... Index>
[[nodiscard]] decltype(auto) element_of(const S& s, Index... index) {
  if constexpr (requires { s(index...); })
    return s(index...);
  else
    return s[std::array<typename S::index_type, sizeof...(Index)>{index...}];
}

/// Appends all elements of `s` in row-major order.
template <class T, class S, class... Index>
void append_mdspan(const S& s, std::vector<T>& out, Index... index) {
  if constexpr (sizeof...(Index) == S::rank()) {
    out.push_back(converted<T>(element_of(s, index...)));
  } else {
    using index_type = typename S::index_type;
    for (index_type i = 0; i < s.extent(sizeof...(Index)); ++i) append_mdspan(s, out, index..., i);
  }
}

/// Appends a number, or all numbers of a range, or of a range of ranges.
template <class T, class Element>
void append_numbers(const Element& element, std::vector<T>& out) {
  if constexpr (iterable<const Element>)
    for (auto&& inner : element) append_numbers(inner, out);
  else
    out.push_back(converted<T>(element));
}

/// Returns the elements of one field for all samples. `number` is the field's index, for messages. Throws shape_error
/// when `source` is divided into samples of another size. Does not check the number of elements in a flat source.
template <class Field, class Source>
[[nodiscard]] std::vector<typename Field::value_type> column(Source&& source, std::size_t number) {
  using T = typename Field::value_type;
  using plain = std::remove_cvref_t<Source>;
  using shape_type = typename Field::shape_type;
  const auto where = [&] { return lockstep::detail::message({"dataset: field ", number}); };
  if constexpr (std::same_as<plain, std::vector<T>> && !std::is_lvalue_reference_v<Source> &&
                !std::is_const_v<std::remove_reference_t<Source>>) {
    return std::move(source);
  } else if constexpr (mdspan_like<plain>) {
    static_assert(plain::rank() == shape_type::rank + 1,
                  "lockstep: dataset: an mdspan for a field has the samples as first extent, and then the field's own");
    std::vector<T> out;
    for (int d = 0; d < shape_type::rank; ++d)
      if (static_cast<std::int64_t>(source.extent(static_cast<std::size_t>(d) + 1)) != shape_type::extents[d]) {
        dims given = shape_type::extents;
        for (int k = 0; k < given.rank; ++k)
          given.extent[k] = static_cast<std::int64_t>(source.extent(static_cast<std::size_t>(k) + 1));
        throw shape_error(where(), "samples of " + to_string(shape_type::extents), "samples of " + to_string(given));
      }
    out.reserve(static_cast<std::size_t>(source.extent(0)) * static_cast<std::size_t>(Field::size));
    append_mdspan(source, out);
    return out;
  } else if constexpr (has_mdspan_view<plain>) {
    return column<Field>(source.view(), number);
  } else {
    static_assert(iterable<std::remove_reference_t<Source>>,
                  "lockstep: dataset: expected a range of numbers, a range of samples or an mdspan for each field");
    using element = std::remove_cvref_t<decltype(*std::begin(source))>;
    std::vector<T> out;
    if constexpr (requires { std::size(source); })
      out.reserve(static_cast<std::size_t>(std::size(source)) *
                  (iterable<const element> ? static_cast<std::size_t>(Field::size) : 1));
    for (auto&& one : source) {
      const std::size_t before = out.size();
      append_numbers(one, out);
      if constexpr (iterable<const element>)
        if (out.size() - before != static_cast<std::size_t>(Field::size))
          throw shape_error(where(),
                            lockstep::detail::message(
                                {Field::size, " elements (", to_string(shape_type::extents), ") in each sample"}),
                            lockstep::detail::message(
                                {out.size() - before, " in sample ", before / static_cast<std::size_t>(Field::size)}));
    }
    return out;
  }
}

}  // namespace lockstep::data::detail
