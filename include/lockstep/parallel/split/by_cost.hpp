// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <algorithm>
#include <array>
#include <bit>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <iterator>
#include <limits>
#include <string>
#include <string_view>
#include <type_traits>
#include <vector>

#include <lockstep/core/error.hpp>
#include <lockstep/parallel/split/even.hpp>

namespace lockstep {

namespace detail {

[[noreturn, gnu::cold, gnu::noinline]] inline void refuse_cost(std::string_view expected, const std::string& given,
                                                               std::size_t sample) {
  throw value_error("cost_split", expected, given + " at sample " + std::to_string(sample));
}

/// Running totals: element i is the cost of the first i samples. Throws value_error for a cost below zero, infinite or
/// NaN, or when the total overflows.
template <class Sum, class Cost>
std::vector<Sum> cost_totals(const Cost* costs, std::size_t samples) {
  std::vector<Sum> totals(samples + 1);
  for (std::size_t i = 0; i < samples; ++i) {
    if (!(costs[i] >= Cost{0})) refuse_cost("costs of zero or more", std::to_string(costs[i]), i);
    bool fits = true;
    if constexpr (std::is_integral_v<Cost>)
      fits = static_cast<std::uint64_t>(costs[i]) <=
             static_cast<std::uint64_t>((std::numeric_limits<Sum>::max)() - totals[i]);
    else
      fits = std::isfinite(totals[i] + static_cast<Sum>(costs[i]));
    if (!fits) refuse_cost("costs whose total is finite and fits 64 bits", "more than that", i);
    totals[i + 1] = totals[i] + static_cast<Sum>(costs[i]);
  }
  return totals;
}

/// Returns the furthest end of a part that starts at `from` and costs at most `limit`.
template <class Sum>
std::size_t furthest_end(const std::vector<Sum>& totals, std::size_t from, Sum limit) {
  const auto begin = totals.begin();
  const auto first = begin + static_cast<std::ptrdiff_t>(from);
  const auto end = std::partition_point(first, totals.end(), [&](Sum total) { return total - *first <= limit; });
  return static_cast<std::size_t>(end - begin) - 1;
}

/// Returns the smallest limit under which `parts` parts cover all samples. Non-negative doubles are ordered as their
/// bits are, so bisecting the bits finds the smallest double just as bisecting integers finds the smallest integer.
template <class Sum>
Sum smallest_limit(const std::vector<Sum>& totals, int parts) {
  const auto covers = [&](Sum limit) {
    std::size_t end = 0;
    for (int r = 0; r < parts; ++r) end = furthest_end(totals, end, limit);
    return end + 1 == totals.size();
  };
  std::uint64_t low = 0;
  auto high = std::bit_cast<std::uint64_t>(totals.back());
  while (low < high) {
    const std::uint64_t middle = low + (high - low) / 2;
    if (covers(std::bit_cast<Sum>(middle)))
      high = middle;
    else
      low = middle + 1;
  }
  return std::bit_cast<Sum>(high);
}

template <int N, class Sum>
batch_split<N> split_by_totals(const std::vector<Sum>& totals) {
  constexpr std::size_t n = static_cast<std::size_t>(N);
  const std::size_t samples = totals.size() - 1;
  if (totals.back() == Sum{0}) return even_split<N>(static_cast<std::int64_t>(samples));
  const Sum limit = smallest_limit(totals, N);

  // From part r on, the remaining parts can hold the remaining samples exactly when part r begins at earliest[r] or
  // later.
  std::array<std::size_t, n + 1> earliest{};
  earliest[n] = samples;
  for (std::size_t r = n; r-- > 0;) {
    const Sum end = totals[earliest[r + 1]];
    const auto first = std::partition_point(totals.begin(), totals.end(), [&](Sum t) { return end - t > limit; });
    earliest[r] = static_cast<std::size_t>(first - totals.begin());
  }

  // Among the cuts that keep the limit, choose the one where the part reaches its fair share of the remaining cost.
  typename batch_split<N>::counts_type counts{};
  std::size_t begin = 0;
  for (std::size_t r = 0; r < n; ++r) {
    const Sum rest = totals.back() - totals[begin];
    const auto left = static_cast<Sum>(n - r);
    Sum share = rest / left;
    if constexpr (std::is_integral_v<Sum>) share += rest % left == 0 ? 0 : 1;
    const auto reached = std::partition_point(totals.begin() + static_cast<std::ptrdiff_t>(begin), totals.end(),
                                              [&, start = totals[begin]](Sum total) { return total - start < share; });
    const std::size_t end = std::clamp(static_cast<std::size_t>(reached - totals.begin()),
                                       (std::max)(earliest[r + 1], begin), furthest_end(totals, begin, limit));
    counts[r] = static_cast<std::int64_t>(end - begin);
    begin = end;
  }
  return batch_split<N>(counts);
}

}  // namespace detail

/// Splits a batch into contiguous parts so that the most expensive part is as cheap as possible, for samples of unequal
/// length or cost. `costs` has one number a sample (a vector, span, array or tensor of integers or floating point
/// numbers). Among the splits that reach this minimum it returns one that spreads the work, so that equal integer costs
/// give even_split, and so do costs that are all zero.
///
/// Exact: integers are summed in 64 bits, floating point numbers in double, where the cost of a part is the difference
/// of two running totals. Throws value_error when a cost is negative, infinite or NaN, or when the total overflows.
/// Cost: O(samples + 64 N log samples) time, and memory for one running total a sample.
template <int N, class Costs>
[[nodiscard]] batch_split<N> cost_split(const Costs& costs) {
  using cost = std::remove_cvref_t<decltype(*std::data(costs))>;
  static_assert(std::is_arithmetic_v<cost>, "lockstep: cost_split: one number a sample");
  using sum = std::conditional_t<std::is_integral_v<cost>, std::int64_t, double>;
  return detail::split_by_totals<N>(
      detail::cost_totals<sum>(std::data(costs), static_cast<std::size_t>(std::size(costs))));
}

}  // namespace lockstep
