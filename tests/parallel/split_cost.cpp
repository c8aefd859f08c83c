// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <numeric>
#include <random>
#include <span>
#include <vector>

#include <lockstep/core/tensor.hpp>
#include <lockstep/parallel/scatter.hpp>
#include <lockstep/parallel/split/by_cost.hpp>

#include "support/catch.hpp"

namespace ls = lockstep;

namespace {

/// The cheapest most expensive part over every way to cut [from, end) into `parts` ranges.
template <class Cost>
double best_by_trying(const std::vector<Cost>& costs, std::size_t from, int parts) {
  double part = 0.0;
  if (parts == 1) {
    for (std::size_t i = from; i < costs.size(); ++i) part += static_cast<double>(costs[i]);
    return part;
  }
  double best = best_by_trying(costs, from, parts - 1);
  for (std::size_t end = from; end < costs.size(); ++end) {
    part += static_cast<double>(costs[end]);
    best = std::min(best, std::max(part, best_by_trying(costs, end + 1, parts - 1)));
  }
  return best;
}

template <int N, class Cost>
double most_expensive(const std::vector<Cost>& costs, const ls::batch_split<N>& split) {
  double worst = 0.0;
  for (int r = 0; r < N; ++r) {
    double part = 0.0;
    for (std::int64_t i = split[r].first; i < split[r].first + split[r].count; ++i)
      part += static_cast<double>(costs[static_cast<std::size_t>(i)]);
    worst = std::max(worst, part);
  }
  return worst;
}

template <int N, class Cost>
void check_optimal(const std::vector<Cost>& costs) {
  const auto split = ls::cost_split<N>(costs);
  CHECK(split.samples() == static_cast<std::int64_t>(costs.size()));
  CHECK(most_expensive(costs, split) == best_by_trying(costs, 0, N));
}

}  // namespace

TEST_CASE("cost_split finds the minimum that trying every split finds", "[split]") {
  std::mt19937 draws(7);
  for (const int largest : {1, 3, 20, 1000000})
    for (std::size_t samples = 0; samples <= 11; ++samples) {
      // Multiples of 1/8, whose sums are exact in double.
      std::vector<std::int64_t> costs(samples);
      for (auto& cost : costs) cost = static_cast<std::int64_t>(draws() % static_cast<unsigned>(largest + 1));
      std::vector<double> eighths(samples);
      std::transform(costs.begin(), costs.end(), eighths.begin(), [](auto c) { return static_cast<double>(c) / 8.0; });
      INFO(samples << " samples of cost up to " << largest);
      check_optimal<1>(costs);
      check_optimal<2>(costs);
      check_optimal<3>(costs);
      check_optimal<4>(costs);
      check_optimal<2>(eighths);
      check_optimal<4>(eighths);
    }
}

TEST_CASE("a long sample stands alone, and ranges stay in order", "[split]") {
  const std::vector<int> lengths{1, 1, 1, 90, 1, 1, 1, 1};
  const auto split = ls::cost_split<3>(lengths);
  CHECK(split[1] == ls::shard_range{3, 1});
  CHECK(split.edges() == std::array<std::int64_t, 4>{0, 3, 4, 8});
}

TEST_CASE("equal costs give the even split, and so do costs of zero", "[split]") {
  for (const std::size_t samples : {0U, 1U, 2U, 9U, 64U, 1000U}) {
    const auto even = ls::even_split<4>(static_cast<std::int64_t>(samples));
    CHECK(ls::cost_split<4>(std::vector<int>(samples, 17)) == even);
    CHECK(ls::cost_split<4>(std::vector<int>(samples, 0)) == even);
    CHECK(ls::cost_split<4>(std::vector<float>(samples, 0.F)) == even);
  }
  // Whatever the cost, and whatever is left over.
  for (const int cost : {1, 2, 3, 1000})
    for (std::size_t samples = 0; samples <= 40; ++samples) {
      INFO(samples << " samples of cost " << cost);
      const std::vector<int> costs(samples, cost);
      const auto n = static_cast<std::int64_t>(samples);
      CHECK(ls::cost_split<2>(costs) == ls::even_split<2>(n));
      CHECK(ls::cost_split<3>(costs) == ls::even_split<3>(n));
      CHECK(ls::cost_split<4>(costs) == ls::even_split<4>(n));
      CHECK(ls::cost_split<7>(costs) == ls::even_split<7>(n));
    }
}

TEST_CASE("no replica idles while another has the work of two", "[split]") {
  // The limit is 8 because of the first sample; the other nine would fit two parts.
  const std::vector<int> costs{8, 1, 1, 1, 1, 1, 1, 1, 1, 1};
  CHECK(ls::cost_split<4>(costs).counts() == std::array<std::int64_t, 4>{1, 3, 3, 3});
}

TEST_CASE("cost_split is exact for large integers and takes any kind of number", "[split]") {
  constexpr std::int64_t large = std::numeric_limits<std::int64_t>::max() / 2;
  // Doubles cannot tell large from large - 1.
  CHECK(ls::cost_split<2>(std::vector<std::int64_t>{1, large - 1, large - 1}).counts() ==
        std::array<std::int64_t, 2>{2, 1});
  CHECK(ls::cost_split<2>(std::vector<std::int64_t>{large - 1, large - 1, 1}).counts() ==
        std::array<std::int64_t, 2>{1, 2});

  const std::vector<std::uint8_t> bytes{200, 100, 100, 200, 100, 100};
  CHECK(ls::cost_split<2>(std::span(bytes)).counts() == std::array<std::int64_t, 2>{3, 3});
  const std::array<float, 4> floats{0.25F, 0.25F, 0.25F, 0.75F};
  CHECK(ls::cost_split<2>(floats).counts() == std::array<std::int64_t, 2>{3, 1});
  ls::batch_of<std::int64_t> tensor(3);
  tensor(0) = 5;
  tensor(2) = 1;
  CHECK(ls::cost_split<2>(tensor)[0].count == 1);
}

TEST_CASE("costs that say nothing are refused", "[split]") {
  const double none = std::numeric_limits<double>::quiet_NaN();
  const double endless = std::numeric_limits<double>::infinity();
  constexpr std::int64_t most = std::numeric_limits<std::int64_t>::max();
  CHECK_THROWS_AS(ls::cost_split<2>(std::vector<int>{1, -1}), ls::value_error);
  CHECK_THROWS_AS(ls::cost_split<2>(std::vector<double>{1.0, none}), ls::value_error);
  CHECK_THROWS_AS(ls::cost_split<2>(std::vector<double>{endless}), ls::value_error);
  CHECK_THROWS_AS(ls::cost_split<2>(std::vector<double>{1e308, 1e308}), ls::value_error);
  CHECK_THROWS_AS(ls::cost_split<2>(std::vector<std::int64_t>{most, 1}), ls::value_error);
  CHECK_THROWS_AS(ls::cost_split<2>(std::vector<std::uint64_t>{std::uint64_t{1} << 63U}), ls::value_error);
  CHECK(ls::cost_split<2>(std::vector<std::int64_t>{most, 0}).samples() == 2);
  CHECK_THROWS_WITH(ls::cost_split<2>(std::vector<int>{1, -1}), Catch::Contains("-1 at sample 1"));
}

TEST_CASE("scatter cuts sequences by their lengths", "[split]") {
  std::vector<std::int64_t> lengths{9, 1, 1, 1, 2, 2, 2};
  const std::span<std::int64_t> batch(lengths);
  const auto shards = ls::scatter<3>(batch, ls::cost_split<3>(lengths));
  for (const auto& shard : shards) CHECK(std::accumulate(shard.begin(), shard.end(), std::int64_t{0}) <= 9);
  CHECK(shards[0].size() == 1);
}
