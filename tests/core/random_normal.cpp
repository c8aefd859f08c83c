// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include <lockstep/core/random.hpp>

#include <algorithm>
#include <array>
#include <cmath>
#include <complex>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "support/catch.hpp"

namespace {

namespace ls = lockstep;

constexpr ls::random_stream stream(ls::seed{11}, ls::random_purpose::synthetic_data);

std::vector<double> draws(std::size_t count) {
  std::vector<double> values(count);
  for (std::size_t i = 0; i < count; ++i) values[i] = stream.normal(i);
  return values;
}

double mean_of_power(const std::vector<double>& values, int power) {
  double sum = 0;
  for (const double value : values) sum += std::pow(value, power);
  return sum / static_cast<double>(values.size());
}

/// The share of a normal distribution below x.
double below(double x) { return 0.5 * std::erfc(-x / std::sqrt(2.0)); }

}  // namespace

TEST_CASE("a normal draw is Box and Muller's of two words of the stream", "[random]") {
  for (std::uint64_t i = 0; i < 1'000; ++i) {
    // The transformation as the real part of a complex number, in long double.
    const auto unit = (static_cast<long double>(stream.bits(2 * i)) + 0.5L) / 4294967296.0L;
    const auto turn = static_cast<long double>(stream.bits(2 * i + 1)) / 4294967296.0L;
    const auto z = std::polar(std::sqrt(-2.0L * std::log(unit)), 2.0L * std::acos(-1.0L) * turn);
    CHECK(stream.normal(i) == Approx(static_cast<double>(z.real())).epsilon(1e-6).margin(1e-7));
  }
}

TEST_CASE("normal draws have the moments of the normal distribution", "[random]") {
  constexpr std::size_t count = 400'000;
  const auto values = draws(count);
  const double deviation = 1 / std::sqrt(static_cast<double>(count));
  // Within five deviations of each estimate: the variances of x, x^2, x^3 and x^4 are 1, 2, 15 and 96.
  CHECK(std::abs(mean_of_power(values, 1)) < 5 * deviation);
  CHECK(std::abs(mean_of_power(values, 2) - 1) < 5 * std::sqrt(2.0) * deviation);
  CHECK(std::abs(mean_of_power(values, 3)) < 5 * std::sqrt(15.0) * deviation);
  CHECK(std::abs(mean_of_power(values, 4) - 3) < 5 * std::sqrt(96.0) * deviation);
  double products = 0;
  for (std::size_t i = 1; i < count; ++i) products += values[i] * values[i - 1];
  CHECK(std::abs(products / static_cast<double>(count)) < 5 * deviation);
}

TEST_CASE("normal draws follow the normal distribution", "[random]") {
  constexpr std::size_t count = 100'000;
  auto values = draws(count);
  std::sort(values.begin(), values.end());
  double distance = 0;
  for (std::size_t i = 0; i < count; ++i) {
    const double share = below(values[i]);
    distance = std::max({distance, share - static_cast<double>(i) / count, static_cast<double>(i + 1) / count - share});
  }
  // Kolmogorov and Smirnov's distance; chance exceeds this once in ten thousand times.
  CHECK(distance * std::sqrt(static_cast<double>(count)) < 2.23);
  CHECK(values.front() > -6.7);
  CHECK(values.back() < 6.7);
  CHECK(values.back() > 3.5);
}
