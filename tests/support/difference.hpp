// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <algorithm>
#include <cmath>
#include <iterator>
#include <limits>

/// \file
/// How far what a test got lies from what it expects. No difference is ever NaN, because a running maximum drops a NaN
/// and because no comparison with it holds, whichever way it is written: what is no number is infinitely far away. No
/// function here makes an assertion, so that several threads may be in them.

namespace lockstep_test {

/// Whether a NaN is as it should be where a NaN is expected.
enum class nan_rule { differs, equals_nan };

/// |given - expected|. Equal infinities differ by 0, a NaN differs by infinity.
inline double difference_of(double given, double expected, nan_rule rule = nan_rule::differs) {
  if (given == expected) return 0;
  if (rule == nan_rule::equals_nan && std::isnan(given) && std::isnan(expected)) return 0;
  const double difference = std::abs(given - expected);
  return std::isnan(difference) ? std::numeric_limits<double>::infinity() : difference;
}

/// By how much the difference exceeds `relative` times the magnitude that is expected; 0 where it does not.
inline double excess_of(double given, double expected, double relative, nan_rule rule = nan_rule::differs) {
  const double difference = difference_of(given, expected, rule);
  return std::isfinite(difference) ? std::max(0.0, difference - relative * std::abs(expected)) : difference;
}

/// What a comparison allows: a number, and a part of the magnitude that is expected. They add.
struct allowance {
  double relative = 0;
  double absolute = 0;
};

/// Whether two numbers differ by no more than is allowed. An allowance that is not finite allows nothing.
inline bool is_close(double given, double expected, const allowance& allowed) {
  return std::isfinite(allowed.relative) && std::isfinite(allowed.absolute) &&
         excess_of(given, expected, allowed.relative) <= allowed.absolute;
}

/// The largest magnitude; infinite when one element is infinite or NaN, 0 of no elements.
template <class Range>
double largest_magnitude(const Range& values) {
  double largest = 0;
  for (const auto& v : values) largest = std::max(largest, difference_of(static_cast<double>(v), 0));
  return largest;
}

/// The largest difference of two elements that stand in the same place; infinite when the lengths differ.
template <class Given, class Expected>
double largest_difference(const Given& given, const Expected& expected) {
  if (std::distance(std::begin(given), std::end(given)) != std::distance(std::begin(expected), std::end(expected)))
    return std::numeric_limits<double>::infinity();
  double worst = 0;
  auto want = std::begin(expected);
  for (const auto& got : given)
    worst = std::max(worst, difference_of(static_cast<double>(got), static_cast<double>(*want++)));
  return worst;
}

/// The largest difference over the largest finite magnitude of `expected`: 0 when the two are equal, infinite when
/// they differ and nothing but zeros is expected.
template <class Given, class Expected>
double relative_difference(const Given& given, const Expected& expected) {
  const double worst = largest_difference(given, expected);
  if (worst == 0) return 0;
  double top = 0;
  for (const auto& v : expected) {
    const double magnitude = difference_of(static_cast<double>(v), 0);
    if (std::isfinite(magnitude)) top = std::max(top, magnitude);
  }
  return worst / top;
}

}  // namespace lockstep_test
