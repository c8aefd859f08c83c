// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include <lockstep/core/config.hpp>
#include <lockstep/core/error.hpp>

namespace lockstep::detail {

/// The index of the first of n numbers that is outside [low, high], or NaN; n when there is none.
template <class T>
[[nodiscard]] std::int64_t first_outside(const T* x, std::int64_t n, T low, T high) {
  constexpr std::int64_t block = 64;  // a constant number of rounds without a way out: compilers make vectors of it
  const auto fits = [=](T v) { return static_cast<int>(v >= low) & static_cast<int>(v <= high); };
  std::int64_t i = 0;
  for (; i + block <= n; i += block) {
    int outside = 0;
    for (std::int64_t j = 0; j < block; ++j) outside |= 1 - fits(x[i + j]);
    if (outside != 0) break;
  }
  while (i < n && fits(x[i]) == 1) ++i;
  return i;
}

/// Throws value_error for the first of `count` targets outside [low, high]. `size` is that of a sample's targets.
template <class T>
void check_targets(std::string_view who, std::string_view expected, const T* targets, std::int64_t count,
                   std::int64_t size, T low, T high) {
  const std::int64_t at = first_outside(targets, count, low, high);
  if (at < count)
    throw value_error(who, expected,
                      std::to_string(targets[at]) + " for element " + std::to_string(at % size) + " of sample " +
                          std::to_string(at / size));
}

}  // namespace lockstep::detail
