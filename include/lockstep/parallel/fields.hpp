// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <array>
#include <cstddef>
#include <tuple>
#include <type_traits>
#include <utility>

/// \file
/// The members of a plain struct as a tuple, for structs of tensors. Up to eight members, no bases.

namespace lockstep::detail {

struct any_member {
  template <class T>
  operator T() const;  // NOLINT(google-explicit-constructor): stands for a member of any type; never defined
};

template <class T, class... Members>
consteval std::size_t count_fields() {
  if constexpr (sizeof...(Members) < 8 && requires { T{std::declval<Members>()..., any_member{}}; })
    return count_fields<T, Members..., any_member>();
  else
    return sizeof...(Members);
}

template <class T>
inline constexpr std::size_t field_count = count_fields<std::remove_cvref_t<T>>();

/// References to the members of s, in order.
template <class T>
constexpr auto tie_fields(T& s) {
  constexpr std::size_t n = field_count<T>;
  static_assert(n >= 1 && n <= 8, "lockstep: scatter and gather take structs of one to eight members");
  if constexpr (n == 1) {
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
  } else {
    auto& [a, b, c, d, e, f, g, h] = s;
    return std::tie(a, b, c, d, e, f, g, h);
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

/// A struct whose members can be listed.
template <class T>
concept plain_struct = std::is_class_v<T> && std::is_aggregate_v<T> && !is_std_array<T>::value && !is_tuple<T>::value;

}  // namespace lockstep::detail
