// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <lockstep/core/config.hpp>

#include <array>
#include <cstddef>
#include <optional>
#include <tuple>
#include <type_traits>
#include <utility>

/// \file
/// The members of a plain struct as a tuple, for structs of tensors. Takes up to twelve members and no base classes.

namespace lockstep::detail {

inline constexpr std::size_t max_fields = 12;

template <std::size_t>
struct any_member {
  template <class T>
  operator T() const;  // NOLINT(google-explicit-constructor): converts to a member of any type; never defined
};

template <class T, class... Members>
inline constexpr bool takes = requires { T{std::declval<Members>()...}; };

/// Counts down, because fewer initialisers than members do not always make a T. Starts one above the most members, so
/// that a struct with too many is told from one that fits.
template <class T, std::size_t N = max_fields + 1>
consteval std::size_t count_fields() {
  constexpr bool fits = []<std::size_t... Index>(std::index_sequence<Index...>) {
    return takes<T, any_member<Index>...>;
  }(std::make_index_sequence<N>{});
  if constexpr (fits || N == 0)
    return N;
  else
    return count_fields<T, N - 1>();
}

template <class T>
inline constexpr std::size_t field_count = count_fields<std::remove_cvref_t<T>>();

/// True when T{m, ..., m, {}, m, ..., m} is valid, with `Before` and `After` initialisers m, each of which converts to
/// any type.
template <class T, std::size_t... Before, std::size_t... After>
consteval bool takes_default(std::index_sequence<Before...>, std::index_sequence<After...>) {
  return requires { T{std::declval<any_member<Before>>()..., {}, std::declval<any_member<After>>()...}; };
}

/// True when a C array of two elements or more begins at one of the initialisers of T. The count has one initialiser
/// for each of its elements, but {} stands for all of them, so that some of the initialisers after it are too many.
template <class T>
inline constexpr bool has_c_array = []<std::size_t... Position>(std::index_sequence<Position...>) {
  constexpr std::size_t n = field_count<T>;
  constexpr auto begins = []<std::size_t At>(std::integral_constant<std::size_t, At>) {
    constexpr auto before = std::make_index_sequence<At>{};
    if constexpr (takes_default<T>(before, std::make_index_sequence<n - 1 - At>{}))
      return false;
    else
      return []<std::size_t... After>(std::index_sequence<After...>) {
        return (takes_default<T>(std::make_index_sequence<At>{}, std::make_index_sequence<After>{}) || ...);
      }(std::make_index_sequence<n - 1 - At>{});
  };
  return (begins(std::integral_constant<std::size_t, Position>{}) || ...);
}(std::make_index_sequence<field_count<T>>{});

/// References to the members of s, in order.
template <class T>
constexpr auto tie_fields(T& s) {
  constexpr std::size_t n = field_count<T>;
  static_assert(n >= 1 && n <= max_fields,
                "lockstep: scatter and gather take structs of one to twelve members; group some in a struct of their "
                "own, and pass what is not to be split behind std::cref");
  constexpr bool has_array = has_c_array<std::remove_const_t<T>>;
  static_assert(!has_array,
                "lockstep: scatter and gather cannot take a struct apart that has a C array; make it a std::array");
  if constexpr (has_array) {
    return std::tuple<>();
  } else if constexpr (n == 1) {
    auto& [a] = s;
    return std::tie(a);
  } else if constexpr (n == 2) {
    auto& [a, b] = s;
    return std::tie(a, b);
  } else if constexpr (n == 3) {
    auto& [a, b, c] = s;
    return std::tie(a, b, c);
  } else if constexpr (n == 4) {
    auto& [a, b, c, d] = s;
    return std::tie(a, b, c, d);
  } else if constexpr (n == 5) {
    auto& [a, b, c, d, e] = s;
    return std::tie(a, b, c, d, e);
  } else if constexpr (n == 6) {
    auto& [a, b, c, d, e, f] = s;
    return std::tie(a, b, c, d, e, f);
  } else if constexpr (n == 7) {
    auto& [a, b, c, d, e, f, g] = s;
    return std::tie(a, b, c, d, e, f, g);
  } else if constexpr (n == 8) {
    auto& [a, b, c, d, e, f, g, h] = s;
    return std::tie(a, b, c, d, e, f, g, h);
  } else if constexpr (n == 9) {
    auto& [a, b, c, d, e, f, g, h, i] = s;
    return std::tie(a, b, c, d, e, f, g, h, i);
  } else if constexpr (n == 10) {
    auto& [a, b, c, d, e, f, g, h, i, j] = s;
    return std::tie(a, b, c, d, e, f, g, h, i, j);
  } else if constexpr (n == 11) {
    auto& [a, b, c, d, e, f, g, h, i, j, k] = s;
    return std::tie(a, b, c, d, e, f, g, h, i, j, k);
  } else if constexpr (n == 12) {
    auto& [a, b, c, d, e, f, g, h, i, j, k, l] = s;
    return std::tie(a, b, c, d, e, f, g, h, i, j, k, l);
  } else {
    return std::tuple<>();
  }
}

template <class References>
struct without_references;
template <class... Ts>
struct without_references<std::tuple<Ts...>> {
  using type = std::tuple<std::remove_cvref_t<Ts>...>;
};

/// The tuple of the types of T's members.
template <class T>
using field_values = typename without_references<decltype(tie_fields(std::declval<T&>()))>::type;

template <class T>
struct is_tuple : std::false_type {};
template <class... Ts>
struct is_tuple<std::tuple<Ts...>> : std::true_type {};
template <class A, class B>
struct is_tuple<std::pair<A, B>> : std::true_type {};

template <class T>
struct is_std_array : std::false_type {};
template <class T, std::size_t N>
struct is_std_array<std::array<T, N>> : std::true_type {};

template <class T>
struct is_optional : std::false_type {};
template <class T>
struct is_optional<std::optional<T>> : std::true_type {};

/// A struct that is taken apart. A struct without members, such as a tag, is not.
template <class T>
concept plain_struct = std::is_class_v<T> && std::is_aggregate_v<T> && !is_std_array<T>::value && !is_tuple<T>::value &&
                       (field_count<T> > 0);

/// A type that is taken apart into a fixed number of members.
template <class T>
concept compound = is_tuple<T>::value || is_std_array<T>::value || plain_struct<T>;

/// References to the members of a tuple, pair, array or plain struct, in order.
template <class T>
  requires compound<std::remove_const_t<T>>
constexpr auto tie_members(T& value) {
  if constexpr (plain_struct<std::remove_const_t<T>>)
    return tie_fields(value);
  else
    return std::apply([](auto&... each) { return std::tie(each...); }, value);
}

template <class T>
inline constexpr std::size_t member_count = std::tuple_size_v<decltype(tie_members(std::declval<T&>()))>;

/// How many values somebody hands in: the members of what is taken apart, else one.
template <class T>
inline constexpr std::size_t members_in = 1;
template <class T>
  requires compound<T>
inline constexpr std::size_t members_in<T> = member_count<const T>;

}  // namespace lockstep::detail
