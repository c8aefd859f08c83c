// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Each transform against loops written from its definition. What a transform draws is not known here: its result is one
// of all that the definition allows, and each comes as often as the definition says.

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <map>
#include <vector>

#include <lockstep/data/augment/cutout.hpp>
#include <lockstep/data/augment/flip.hpp>
#include <lockstep/data/augment/pad_and_crop.hpp>

#include "data/augment_support.hpp"
#include "support/catch.hpp"

namespace {

namespace data = lockstep::data;
using lockstep_test::counted;
using lockstep_test::excess;
using lockstep_test::picture;
using lockstep_test::transformed;

using outcomes = std::map<std::vector<float>, double>;  // each with its number of equally likely causes

/// The window of `from`, surrounded by zeros, at each place.
outcomes crops(const picture& from, int padding) {
  picture padded{from.channels, from.rows + 2 * padding, from.columns + 2 * padding};
  padded.values.assign(static_cast<std::size_t>(padded.channels * padded.rows * padded.columns), 0.0F);
  for (int c = 0; c < from.channels; ++c)
    for (int y = 0; y < from.rows; ++y)
      for (int x = 0; x < from.columns; ++x) padded.at(c, y + padding, x + padding) = from.at(c, y, x);
  outcomes result;
  for (int top = 0; top <= 2 * padding; ++top)
    for (int left = 0; left <= 2 * padding; ++left) {
      picture window = from;
      for (int c = 0; c < from.channels; ++c)
        for (int y = 0; y < from.rows; ++y)
          for (int x = 0; x < from.columns; ++x) window.at(c, y, x) = padded.at(c, top + y, left + x);
      ++result[window.values];
    }
  return result;
}

/// A zero square about each place; with an even size the centre is the first place of the second half.
outcomes cut(const picture& from, int size) {
  outcomes result;
  for (int centre_y = 0; centre_y < from.rows; ++centre_y)
    for (int centre_x = 0; centre_x < from.columns; ++centre_x) {
      picture with_hole = from;
      const auto inside = [&](int place, int centre) {
        return place >= centre - size / 2 && place < centre - size / 2 + size;
      };
      for (int c = 0; c < from.channels; ++c)
        for (int y = 0; y < from.rows; ++y)
          for (int x = 0; x < from.columns; ++x)
            if (inside(y, centre_y) && inside(x, centre_x)) with_hole.at(c, y, x) = 0;
      ++result[with_hole.values];
    }
  return result;
}

/// Draws many times: every outcome is allowed, and they come in proportion to their causes.
template <std::int64_t... Extents, class Transform>
void check_outcomes(const Transform& by, const picture& from, const outcomes& allowed) {
  double causes = 0;
  for (const auto& [values, number] : allowed) causes += number;
  const auto draws = static_cast<std::uint64_t>(400 * causes);
  std::map<std::vector<float>, double> counts;
  for (std::uint64_t i = 0; i < draws; ++i) {
    auto result = transformed<Extents...>(by, from, i);
    REQUIRE(allowed.count(result) == 1);
    ++counts[std::move(result)];
  }
  std::vector<double> counted_draws;
  std::vector<double> expected;
  for (const auto& [values, number] : allowed) {
    counted_draws.push_back(counts[values]);
    expected.push_back(static_cast<double>(draws) * number / causes);
  }
  if (allowed.size() > 1) CHECK(std::abs(excess(counted_draws, expected)) < 4);
}

}  // namespace

TEST_CASE("pad_and_crop takes each window of the padded picture equally often", "[data][augment]") {
  check_outcomes<3, 5, 7>(data::pad_and_crop<2>{}, counted(3, 5, 7), crops(counted(3, 5, 7), 2));
  check_outcomes<1, 4, 3>(data::pad_and_crop<1>{}, counted(1, 4, 3), crops(counted(1, 4, 3), 1));
  check_outcomes<6, 6>(data::pad_and_crop<4>{}, counted(1, 6, 6), crops(counted(1, 6, 6), 4));
  // Padding beyond the picture's own extents; some windows hold zeros alone.
  check_outcomes<2, 3, 2>(data::pad_and_crop<5>{}, counted(2, 3, 2), crops(counted(2, 3, 2), 5));
  check_outcomes<1, 1, 1>(data::pad_and_crop<1>{}, counted(1, 1, 1), crops(counted(1, 1, 1), 1));
  check_outcomes<1, 2, 2>(data::pad_and_crop<0>{}, counted(1, 2, 2), crops(counted(1, 2, 2), 0));
}

TEST_CASE("flip mirrors each row with its probability", "[data][augment]") {
  const picture from = counted(2, 3, 5);
  picture mirrored = from;
  for (int c = 0; c < 2; ++c)
    for (int y = 0; y < 3; ++y)
      for (int x = 0; x < 5; ++x) mirrored.at(c, y, x) = from.at(c, y, 4 - x);
  check_outcomes<2, 3, 5>(data::flip<>{}, from, {{from.values, 50}, {mirrored.values, 50}});
  check_outcomes<2, 3, 5>(data::flip<0.1>{}, from, {{from.values, 90}, {mirrored.values, 10}});
  check_outcomes<2, 3, 5>(data::flip<0>{}, from, {{from.values, 10}});
  check_outcomes<2, 3, 5>(data::flip<1>{}, from, {{mirrored.values, 10}});
  check_outcomes<2, 2>(data::flip<1>{}, counted(1, 2, 2), {{{2, 1, 4, 3}, 10}});
}

TEST_CASE("cutout zeroes a square about each place equally often", "[data][augment]") {
  check_outcomes<3, 5, 7>(data::cutout<2>{}, counted(3, 5, 7), cut(counted(3, 5, 7), 2));
  check_outcomes<3, 5, 7>(data::cutout<3>{}, counted(3, 5, 7), cut(counted(3, 5, 7), 3));
  check_outcomes<1, 6, 6>(data::cutout<1>{}, counted(1, 6, 6), cut(counted(1, 6, 6), 1));
  check_outcomes<4, 9>(data::cutout<4>{}, counted(1, 4, 9), cut(counted(1, 4, 9), 4));
  // Larger than the picture: a part may stay, or nothing.
  check_outcomes<2, 3, 4>(data::cutout<5>{}, counted(2, 3, 4), cut(counted(2, 3, 4), 5));
  check_outcomes<2, 3, 4>(data::cutout<20>{}, counted(2, 3, 4), cut(counted(2, 3, 4), 20));
}
