// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <limits>

#include <lockstep/core/tensor.hpp>
#include <lockstep/parallel/scatter.hpp>
#include <lockstep/parallel/split/by_weight.hpp>

#include "support/catch.hpp"

namespace ls = lockstep;

namespace {

using four = std::array<std::int64_t, 4>;

/// Largest remainders in integers alone.
four reference(std::int64_t samples, const four& weights) {
  std::int64_t sum = 0;
  for (const auto weight : weights) sum += weight;
  four counts{};
  four remainders{};
  std::int64_t rest = samples;
  for (std::size_t r = 0; r < 4; ++r) {
    counts[r] = samples * weights[r] / sum;
    remainders[r] = samples * weights[r] % sum;
    rest -= counts[r];
  }
  for (; rest > 0; --rest) {
    const auto best =
        static_cast<std::size_t>(std::max_element(remainders.begin(), remainders.end()) - remainders.begin());
    ++counts[best];
    remainders[best] = -1;
  }
  return counts;
}

std::array<double, 4> as_double(const four& weights) {
  std::array<double, 4> all{};
  std::copy(weights.begin(), weights.end(), all.begin());
  return all;
}

}  // namespace

TEST_CASE("weighted_split rounds by largest remainders", "[split]") {
  CHECK(ls::weighted_split<2>(64, {3.0, 1.0}).counts() == std::array<std::int64_t, 2>{48, 16});
  CHECK(ls::weighted_split<3>(10, {1.0, 1.0, 1.0}).counts() == std::array<std::int64_t, 3>{4, 3, 3});
  CHECK(ls::weighted_split<3>(7, {0.5, 0.3, 0.2}).counts() == std::array<std::int64_t, 3>{4, 2, 1});

  const std::array<four, 6> all{
      {{1, 1, 1, 1}, {5, 3, 2, 1}, {1, 0, 0, 7}, {0, 13, 11, 0}, {97, 1, 1, 1}, {0, 0, 3, 0}}};
  for (const four& weights : all)
    for (std::int64_t samples = 0; samples <= 130; ++samples) {
      INFO(samples << " samples, weights " << weights[0] << ' ' << weights[1] << ' ' << weights[2] << ' '
                   << weights[3]);
      CHECK(ls::weighted_split<4>(samples, as_double(weights)).counts() == reference(samples, weights));
    }
}

TEST_CASE("equal weights give the even split, whatever their size", "[split]") {
  for (const double weight :
       {1.0, 0.1, 1e300, 1e-310, std::numeric_limits<double>::max(), std::numeric_limits<double>::denorm_min()})
    for (const std::int64_t samples : {0, 1, 6, 7, 100, 1000003})
      CHECK(ls::weighted_split<7>(samples, {weight, weight, weight, weight, weight, weight, weight}) ==
            ls::even_split<7>(samples));
}

TEST_CASE("counts sum exactly also where a quota has no exact double, and weight zero gets nothing", "[split]") {
  constexpr std::int64_t most = std::int64_t{1} << 53U;
  bool zero_gets_none = true;
  bool sums = true;
  bool close = true;
  for (std::int64_t samples = most - 300; samples <= most; ++samples) {
    const auto split = ls::weighted_split<5>(samples, {0.0, 0.1, 0.7, 1e-300, 3.3});
    sums = sums && split.samples() == samples;
    zero_gets_none = zero_gets_none && split[0].count == 0;
    close = close && split[3].count <= 1 &&
            static_cast<double>(split[4].count) == Approx(static_cast<double>(samples) * 3.3 / 4.1);
  }
  CHECK(sums);
  CHECK(zero_gets_none);
  CHECK(close);
  // All quotas round down to integers here: no remainder says who gets the last sample.
  const auto no_remainders = ls::weighted_split<5>(most - 85953, {0.0, 38.0, 38.0, 47.0, 21.0});
  CHECK(no_remainders[0].count == 0);
  CHECK(no_remainders.samples() == most - 85953);
  CHECK(ls::weighted_split<3>(5, {0.0, 0.0, 1e-320}).counts() == std::array<std::int64_t, 3>{0, 0, 5});
}

TEST_CASE("weights that say nothing are refused", "[split]") {
  const double none = std::numeric_limits<double>::quiet_NaN();
  const double endless = std::numeric_limits<double>::infinity();
  CHECK_THROWS_AS(ls::weighted_split<2>(4, {0.0, 0.0}), ls::value_error);
  CHECK_THROWS_AS(ls::weighted_split<2>(4, {1.0, -0.5}), ls::value_error);
  CHECK_THROWS_AS(ls::weighted_split<2>(4, {none, 1.0}), ls::value_error);
  CHECK_THROWS_AS(ls::weighted_split<2>(4, {endless, 1.0}), ls::value_error);
  CHECK_THROWS_AS(ls::weighted_split<2>(-1, {1.0, 1.0}), ls::value_error);
  CHECK_THROWS_AS(ls::weighted_split<2>((std::int64_t{1} << 53U) + 1, {1.0, 1.0}), ls::value_error);
  CHECK_THROWS_WITH(ls::weighted_split<2>(4, {1.0, -0.5}), Catch::Contains("for replica 1"));
}

TEST_CASE("scatter takes weights", "[split]") {
  const ls::batch_of<float> whole(10);
  const auto by_speed = [](std::int64_t samples) { return ls::weighted_split<3>(samples, {2.0, 1.0, 2.0}); };
  const auto shards = ls::scatter<3>(whole, by_speed);
  CHECK(shards[0].extent(0) == 4);
  CHECK(shards[1].extent(0) == 2);
  CHECK(shards[2].extent(0) == 4);
}
