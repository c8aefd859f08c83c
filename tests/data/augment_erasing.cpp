// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include <lockstep/core/error.hpp>
#include <lockstep/data/augment/pipeline.hpp>
#include <lockstep/data/augment/random_erasing.hpp>
#include <lockstep/data/loader.hpp>
#include <lockstep/data/table.hpp>

#include "data/augment_support.hpp"
#include "data/data_support.hpp"
#include "support/catch.hpp"

namespace {

namespace ls = lockstep;
namespace data = ls::data;
using data::random_erasing;
using lockstep_test::counted;
using lockstep_test::error_of;
using lockstep_test::excess;
using lockstep_test::lacking;
using lockstep_test::picture;
using lockstep_test::transformed;

constexpr int rows = 12;
constexpr int columns = 10;
constexpr float mark = -1;  // no value of counted()

struct found_box {
  int top = 0;
  int left = 0;
  int height = 0;
  int width = 0;
};

/// The box that one draw has overwritten by `mark`. Fails unless it is a box, and the same in both channels.
found_box find_box(const picture& from, const std::vector<float>& result) {
  picture erased = from;
  erased.values = result;
  found_box box{rows, columns, 0, 0};
  int bottom = -1;
  int right = -1;
  for (int y = 0; y < rows; ++y)
    for (int x = 0; x < columns; ++x)
      if (erased.at(0, y, x) == mark) {
        box.top = std::min(box.top, y);
        box.left = std::min(box.left, x);
        bottom = std::max(bottom, y);
        right = std::max(right, x);
      }
  box.height = bottom < 0 ? 0 : bottom - box.top + 1;
  box.width = right < 0 ? 0 : right - box.left + 1;
  picture expected = from;
  for (int c = 0; c < 2; ++c)
    for (int y = box.top; y <= bottom; ++y)
      for (int x = box.left; x <= right; ++x) expected.at(c, y, x) = mark;
  REQUIRE(result == expected.values);
  return box;
}

/// The probability of each extents of the box, and of none as {0, 0}, by quadrature over the share of the area and the
/// logarithm of the ratio: ten attempts, of which the first that fits counts.
std::map<std::pair<int, int>, double> box_probabilities(const random_erasing& by) {
  constexpr int steps = 2000;
  std::map<std::pair<int, int>, double> once;
  double fits = 0;
  for (int i = 0; i < steps; ++i)
    for (int k = 0; k < steps; ++k) {
      const double share = by.scale[0] + (by.scale[1] - by.scale[0]) * (i + 0.5) / steps;
      const double ratio = by.ratio[0] * std::pow(by.ratio[1] / by.ratio[0], (k + 0.5) / steps);
      const int height = static_cast<int>(std::lround(std::sqrt(rows * columns * share * ratio)));
      const int width = static_cast<int>(std::lround(std::sqrt(rows * columns * share / ratio)));
      if (height >= rows || width >= columns) continue;
      once[{height, width}] += 1.0 / (steps * static_cast<double>(steps));
      fits += 1.0 / (steps * static_cast<double>(steps));
    }
  const double never = std::pow(1 - fits, 10);
  for (auto& [extents, probability] : once) probability *= (1 - never) / fits;
  once[{0, 0}] += never;
  return once;
}

void check_boxes(const random_erasing& by) {
  const picture from = counted(2, rows, columns);
  const auto probabilities = box_probabilities(by);
  constexpr std::uint64_t draws = 40'000;
  std::map<std::pair<int, int>, double> counts;
  std::map<std::pair<int, int>, std::vector<double>> tops;
  for (std::uint64_t i = 0; i < draws; ++i) {
    const found_box box = find_box(from, transformed<2, rows, columns>(by, from, i));
    const std::pair extents(box.height, box.width);
    REQUIRE(probabilities.count(extents) == 1);
    ++counts[extents];
    if (box.height == 0) continue;
    auto& places = tops[extents];
    places.resize(static_cast<std::size_t>((rows - box.height + 1) * (columns - box.width + 1)));
    ++places[static_cast<std::size_t>(box.top * (columns - box.width + 1) + box.left)];
  }
  std::vector<double> seen;
  std::vector<double> expected;
  double rare_seen = 0;
  double rare_expected = 0;
  for (const auto& [extents, probability] : probabilities) {
    const double mean = probability * draws;
    if (mean < 5) {
      rare_seen += counts[extents];
      rare_expected += mean;
    } else {
      seen.push_back(counts[extents]);
      expected.push_back(mean);
    }
  }
  if (rare_expected > 5) {
    seen.push_back(rare_seen);
    expected.push_back(rare_expected);
  }
  CHECK(std::abs(excess(seen, expected)) < 4);
  // A box of given extents lies at each place inside equally often.
  int tested = 0;
  for (const auto& [extents, places] : tops) {
    const double mean = counts[extents] / static_cast<double>(places.size());
    if (mean < 5 || places.size() < 10) continue;
    CHECK(excess(places, std::vector<double>(places.size(), mean)) < 4);
    ++tested;
  }
  CHECK(tested > 3);
}

template <class Transform>
std::string refusal(const Transform& by) {
  const data::dataset<data::field<float, 3, 4, 4>> set(std::vector<float>(96));
  return error_of<ls::value_error>([&] { const data::loader batches{set, {}, data::augment{by}}; });
}

}  // namespace

TEST_CASE("random_erasing draws boxes as torchvision's rule says", "[data][augment]") {
  check_boxes({.probability = 1, .value = {mark}});
  check_boxes({.probability = 1, .scale = {0.3, 0.5}, .ratio = {0.5, 4}, .value = {mark}});
  check_boxes({.probability = 1, .scale = {0.05, 1.0}, .ratio = {1, 1.5}, .value = {mark}});
}

TEST_CASE("random_erasing leaves a picture alone when no box fits", "[data][augment]") {
  const random_erasing whole{.probability = 1, .scale = {1, 1}, .ratio = {1, 1}};
  const picture from = counted(1, 4, 4);
  CHECK(transformed<1, 4, 4>(whole, from, 0) == from.values);
  const picture dot = counted(1, 1, 1);
  for (std::uint64_t i = 0; i < 100; ++i)
    CHECK(transformed<1, 1, 1>(random_erasing{.probability = 1}, dot, i) == dot.values);
}

TEST_CASE("random_erasing happens with its probability", "[data][augment]") {
  const picture from = counted(1, 8, 8);
  for (const double probability : {0.0, 0.1, 0.5, 1.0}) {
    // No share of the area is so small that the box could be empty.
    const random_erasing by{.probability = probability, .scale = {0.1, 0.3}, .ratio = {0.8, 1.2}};
    double changed = 0;
    constexpr int draws = 10'000;
    for (std::uint64_t i = 0; i < draws; ++i) changed += transformed<1, 8, 8>(by, from, i) != from.values ? 1 : 0;
    const double deviation = std::sqrt(draws * probability * (1 - probability));
    CHECK(std::abs(changed - draws * probability) <= 4 * deviation);
  }
}

TEST_CASE("random_erasing fills with a value a channel, or with noise", "[data][augment]") {
  const picture from = counted(3, 8, 6);
  for (std::uint64_t i = 0; i < 20; ++i) {
    const auto by_channel = transformed<3, 8, 6>(random_erasing{.probability = 1, .value = {-1, -2, -3}}, from, i);
    for (std::size_t k = 0; k < by_channel.size(); ++k)
      CHECK((by_channel[k] == from.values[k] || by_channel[k] == -1 - static_cast<float>(k / 48)));
  }
  std::vector<double> noise;
  for (std::uint64_t i = 0; i < 4000; ++i) {
    const auto result = transformed<3, 8, 6>(random_erasing{.probability = 1, .value = {}}, from, i);
    for (std::size_t k = 0; k < result.size(); ++k)
      if (result[k] != from.values[k]) noise.push_back(result[k]);
  }
  const auto n = static_cast<double>(noise.size());
  double mean = 0;
  double square = 0;
  double fourth = 0;
  for (const double x : noise) {
    mean += x / n;
    square += x * x / n;
    fourth += x * x * x * x / n;
  }
  REQUIRE(n > 50'000);
  CHECK(std::abs(mean) < 4 / std::sqrt(n));
  CHECK(std::abs(square - 1) < 4 * std::sqrt(2 / n));
  CHECK(std::abs(fourth - 3) < 4 * std::sqrt(96 / n));
}

TEST_CASE("random_erasing refuses options that make no sense", "[data][augment]") {
  constexpr double nan = std::numeric_limits<double>::quiet_NaN();
  CHECK(
      lacking(refusal(random_erasing{.probability = 1.5}), {"random_erasing", "probability in [0, 1]", "1.5"}).empty());
  CHECK(lacking(refusal(random_erasing{.probability = nan}), {"probability in [0, 1]", "nan"}).empty());
  CHECK(lacking(refusal(random_erasing{.scale = {0.5, 0.1}}), {"scale", "0.5", "to 0.1"}).empty());
  CHECK(lacking(refusal(random_erasing{.scale = {-0.5, 0.1}}), {"scale"}).empty());
  CHECK(lacking(refusal(random_erasing{.scale = {0.5, 2}}), {"scale"}).empty());
  CHECK(lacking(refusal(random_erasing{.ratio = {0, 1}}), {"ratio"}).empty());
  CHECK(lacking(refusal(random_erasing{.ratio = {2, 1}}), {"ratio"}).empty());
  CHECK(lacking(refusal(random_erasing{.value = {1, 2}}), {"one for each channel (3)", "got 2"}).empty());
  CHECK(refusal(random_erasing{}) == "(nothing was thrown)");
}
