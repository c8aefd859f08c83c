// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <vector>

#include <lockstep/core/random.hpp>
#include <lockstep/core/shape.hpp>
#include <lockstep/core/tensor.hpp>
#include <lockstep/data/augment/random_draws.hpp>

namespace lockstep_test {

namespace ls = lockstep;

/// A picture as channels of rows of values: what the definitions below are written for.
struct picture {
  int channels = 0;
  int rows = 0;
  int columns = 0;
  std::vector<float> values{};

  [[nodiscard]] float& at(int c, int y, int x) { return values[index(c, y, x)]; }
  [[nodiscard]] float at(int c, int y, int x) const { return values[index(c, y, x)]; }

 private:
  [[nodiscard]] std::size_t index(int c, int y, int x) const {
    return static_cast<std::size_t>((c * rows + y) * columns + x);
  }
};

/// All values differ, and none is zero.
[[nodiscard]] inline picture counted(int channels, int rows, int columns) {
  picture result{channels, rows, columns};
  for (int i = 1; i <= channels * rows * columns; ++i) result.values.push_back(static_cast<float>(i));
  return result;
}

/// What a transform makes of a picture in draw number `number`.
template <std::int64_t... Extents, class Transform>
[[nodiscard]] std::vector<float> transformed(const Transform& by, const picture& from, std::uint64_t number) {
  std::vector<float> values = from.values;
  ls::data::random_draws draws(ls::random_stream(ls::seed{11}, ls::random_purpose::augmentation, 0, number), 0);
  by(ls::tensor_view<float, ls::shape<Extents...>>(values.data()), draws);
  return values;
}

/// Pearson's statistic: about Gaussian with mean n - 1 and variance 2 (n - 1) for n counts when they have these
/// expectations. Returns how many deviations it lies above its mean.
[[nodiscard]] inline double excess(const std::vector<double>& counts, const std::vector<double>& expected) {
  double statistic = 0;
  for (std::size_t i = 0; i < counts.size(); ++i)
    statistic += (counts[i] - expected[i]) * (counts[i] - expected[i]) / expected[i];
  const auto freedom = static_cast<double>(counts.size() - 1);
  return (statistic - freedom) / std::sqrt(2 * freedom);
}

}  // namespace lockstep_test
