// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <array>
#include <bit>
#include <cstddef>
#include <type_traits>

#include <lockstep/core/config.hpp>

namespace lockstep {

/// value(First) + ... + value(First + Count - 1) as one balanced binary tree: for a power of two ((0 + 1) + (2 + 3)),
/// else the largest power of two below Count on the left. Either half of a tree may thus be summed elsewhere, as a
/// tree, without changing a bit.
template <std::size_t First, std::size_t Count, class Value>
[[nodiscard]] LOCKSTEP_ALWAYS_INLINE constexpr auto tree_sum(const Value& value) {
  static_assert(Count > 0);
  if constexpr (Count == 1) {
    return value(std::integral_constant<std::size_t, First>{});
  } else {
    constexpr std::size_t left = std::bit_floor(Count - 1);
    return tree_sum<First, left>(value) + tree_sum<First + left, Count - left>(value);
  }
}

/// The same over the elements of an array.
template <class T, std::size_t N>
[[nodiscard]] constexpr T tree_sum(const std::array<T, N>& values) {
  return tree_sum<0, N>([&](auto k) { return std::get<decltype(k)::value>(values); });
}

}  // namespace lockstep
