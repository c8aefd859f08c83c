// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include <lockstep/data/augment/random_erasing.hpp>

#include "data/augment_support.hpp"
#include "golden/golden.hpp"
#include "support/catch.hpp"

namespace {

namespace ls = lockstep;
namespace data = ls::data;
using lockstep_test::picture;
using lockstep_test::transformed;

/// Draws boxes and counts them by extents, [0, 0] for none.
template <int Rows, int Columns>
std::vector<double> box_counts(const data::random_erasing& by, std::uint64_t draws) {
  std::vector<double> counts(std::size_t{Rows} * Columns);
  const picture zeros{1, Rows, Columns, std::vector<float>(std::size_t{Rows} * Columns)};
  for (std::uint64_t i = 0; i < draws; ++i) {
    picture erased = zeros;
    erased.values = transformed<1, Rows, Columns>(by, zeros, i);
    std::size_t height = 0;
    std::size_t width = 0;
    for (int y = 0; y < Rows; ++y) {
      std::size_t in_row = 0;
      for (int x = 0; x < Columns; ++x) in_row += erased.at(0, y, x) != 0 ? 1U : 0U;
      height += in_row > 0 ? 1U : 0U;
      width = std::max(width, in_row);
    }
    // A box without rows or columns is not seen here, while torchvision names its other extent.
    ++counts[height * Columns + width];
  }
  return counts;
}

/// Holds counts against those that torchvision drew: the statistic of two samples, in deviations above its mean.
double excess_of_two(const std::vector<double>& ours, std::vector<double> theirs, double our_draws,
                     double their_draws) {
  const double ratio = std::sqrt(their_draws / our_draws);
  double statistic = 0;
  double cells = 0;
  double rare_ours = 0;
  double rare_theirs = 0;
  const auto add = [&](double a, double b) {
    statistic += std::pow(a * ratio - b / ratio, 2) / (a + b);
    ++cells;
  };
  for (std::size_t i = 0; i < ours.size(); ++i)
    if (ours[i] + theirs[i] < 20) {
      rare_ours += ours[i];
      rare_theirs += theirs[i];
    } else {
      add(ours[i], theirs[i]);
    }
  if (rare_ours + rare_theirs >= 20) add(rare_ours, rare_theirs);
  return (statistic - (cells - 1)) / std::sqrt(2 * (cells - 1));
}

template <int Rows, int Columns>
void check_case(const std::string& name, const data::random_erasing& by) {
  INFO(name);
  std::vector<double> theirs = lockstep_test::golden_file("augment").values_f64(name);
  REQUIRE(theirs.size() == std::size_t{Rows} * Columns);
  double their_draws = 0;
  for (const double count : theirs) their_draws += count;
  for (std::size_t i = 0; i < theirs.size(); ++i)
    if (i != 0 && (i < std::size_t{Columns} || i % Columns == 0)) {
      theirs[0] += theirs[i];
      theirs[i] = 0;
    }
  constexpr std::uint64_t draws = 50'000;
  const double excess =
      excess_of_two(box_counts<Rows, Columns>(by, draws), theirs, static_cast<double>(draws), their_draws);
  CHECK(std::abs(excess) < 4);
  // The same statistic tells a ratio that is taken upside down.
  data::random_erasing turned = by;
  turned.ratio = {1 / by.ratio[1], 1 / by.ratio[0]};
  if (by.ratio[0] * by.ratio[1] > 1.5 || by.ratio[0] * by.ratio[1] < 0.7)
    CHECK(excess_of_two(box_counts<Rows, Columns>(turned, draws), theirs, static_cast<double>(draws), their_draws) >
          100);
}

}  // namespace

TEST_CASE("random_erasing draws boxes of each extents as often as torchvision", "[golden][augment]") {
  check_case<12, 10>("erasing/default", {.probability = 1, .value = {1}});
  check_case<9, 14>("erasing/large", {.probability = 1, .scale = {0.3, 0.8}, .ratio = {0.5, 4}, .value = {1}});
  check_case<32, 32>("erasing/small", {.probability = 1, .scale = {0.002, 0.01}, .ratio = {0.25, 1}, .value = {1}});
}
