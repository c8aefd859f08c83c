// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include <array>
#include <cstdint>
#include <limits>
#include <numeric>
#include <span>
#include <tuple>
#include <type_traits>
#include <vector>

#include <lockstep/core/shard.hpp>
#include <lockstep/parallel/gather.hpp>
#include <lockstep/parallel/scatter.hpp>
#include <lockstep/parallel/split/even.hpp>

#include "support/catch.hpp"

namespace ls = lockstep;

namespace {

using rows = ls::batch_of<float, 2>;
using counts = std::array<std::int64_t, 3>;

rows counted(std::int64_t samples) {
  rows t(samples);
  std::iota(t.begin(), t.end(), 1.F);
  return t;
}

template <class Shards>
std::vector<std::int64_t> lengths(const Shards& shards) {
  std::vector<std::int64_t> all;
  for (const auto& shard : shards) all.push_back(shard.extent(0));
  return all;
}

/// The first sample to replica 0, the others to replica 2.
counts first_apart(std::int64_t samples) { return {1, 0, samples - 1}; }

}  // namespace

TEST_CASE("a split has counts, edges and ranges that say the same", "[split]") {
  constexpr ls::batch_split<4> split({3, 0, 5, 1});
  static_assert(split.samples() == 9);
  static_assert(split.edges() == std::array<std::int64_t, 5>{0, 3, 3, 8, 9});
  static_assert(split.counts() == std::array<std::int64_t, 4>{3, 0, 5, 1});
  static_assert(split[0] == ls::shard_range{0, 3});
  static_assert(split[1] == ls::shard_range{3, 0});
  static_assert(split[2] == ls::shard_range{3, 5});
  CHECK(split == ls::batch_split<4>({3, 0, 5, 1}));
  CHECK(split != ls::batch_split<4>({3, 0, 4, 2}));
}

TEST_CASE("a split refuses negative counts and sums beyond 64 bits", "[split]") {
  constexpr std::int64_t most = std::numeric_limits<std::int64_t>::max();
  CHECK_THROWS_AS(ls::batch_split<3>({4, -1, 6}), ls::value_error);
  CHECK_THROWS_WITH(ls::batch_split<3>({4, -1, 6}), Catch::Contains("zero or more") && Catch::Contains("4 + -1 + 6"));
  CHECK_THROWS_AS(ls::batch_split<3>({most, 0, 1}), ls::value_error);
  CHECK(ls::batch_split<3>({most - 1, 0, 1}).samples() == most);
}

TEST_CASE("even_split is shard_of", "[split]") {
  for (const std::int64_t samples : {0, 1, 2, 6, 7, 8, 64}) {
    const auto split = ls::even_split<7>(samples);
    CHECK(split.samples() == samples);
    for (int r = 0; r < 7; ++r) CHECK(split[r] == ls::shard_of(samples, 7, r));
  }
  CHECK_THROWS_AS(ls::even_split<2>(-1), ls::value_error);
}

TEST_CASE("scatter follows a split, with views and in order", "[split]") {
  auto whole = counted(9);
  const auto shards = ls::scatter<3>(whole, ls::batch_split<3>({5, 0, 4}));
  static_assert(std::is_same_v<decltype(shards), const std::array<ls::batch_view<float, 2>, 3>>);
  CHECK(lengths(shards) == std::vector<std::int64_t>{5, 0, 4});
  CHECK(shards[0].data_handle() == whole.data());
  CHECK(shards[2].data_handle() == whole.data() + 10);
  const auto back = ls::gather(shards);
  CHECK(std::vector<float>(back.begin(), back.end()) == std::vector<float>(whole.begin(), whole.end()));

  CHECK(lengths(ls::scatter<3>(whole, ls::even_split<3>(9))) == lengths(ls::scatter<3>(whole)));
}

TEST_CASE("scatter follows any function of the number of samples", "[split]") {
  const auto whole = counted(9);
  CHECK(lengths(ls::scatter<3>(whole, first_apart)) == std::vector<std::int64_t>{1, 0, 8});
  std::int64_t asked = -1;
  const auto all_to_last = [&asked](std::int64_t samples) {
    asked = samples;
    return ls::batch_split<3>({0, 0, samples});
  };
  CHECK(lengths(ls::scatter<3>(whole, all_to_last)) == std::vector<std::int64_t>{0, 0, 9});
  CHECK(asked == 9);

  asked = -1;
  const int shared = 4;
  CHECK(ls::scatter<3>(shared, all_to_last) == std::array<int, 3>{4, 4, 4});
  CHECK(asked == -1);  // there is no batch to ask about
}

TEST_CASE("a split applies to every batch inside a value", "[split]") {
  const auto images = counted(5);
  const std::vector<std::int64_t> labels{1, 2, 3, 4, 5};
  const auto both = std::make_tuple(images.view(), std::span(labels), 0.5F);
  const auto shards = ls::scatter<3>(both, ls::batch_split<3>({1, 4, 0}));
  CHECK(std::get<0>(shards[1]).extent(0) == 4);
  CHECK(std::get<0>(shards[1])(0, 0) == 3.F);
  CHECK(std::get<1>(shards[1]).front() == 2);
  CHECK(std::get<1>(shards[2]).empty());
  CHECK(std::get<2>(shards[2]) == 0.5F);
}

TEST_CASE("a split that does not cover the samples is one clear error", "[split]") {
  const auto whole = counted(9);
  const auto too_few = [](std::int64_t) { return counts{4, 4, 0}; };
  const auto too_many = [](std::int64_t) { return counts{4, 4, 2}; };
  const auto negative = [](std::int64_t) { return counts{10, -3, 2}; };
  const auto overflowing = [](std::int64_t) {
    constexpr std::int64_t most = std::numeric_limits<std::int64_t>::max();
    return counts{most, most, 11};  // 9 when 64 bits wrap around
  };
  CHECK_THROWS_AS(ls::scatter<3>(whole, too_few), ls::value_error);
  CHECK_THROWS_AS(ls::scatter<3>(whole, too_many), ls::value_error);
  CHECK_THROWS_AS(ls::scatter<3>(whole, negative), ls::value_error);
  CHECK_THROWS_AS(ls::scatter<3>(whole, overflowing), ls::value_error);
  CHECK_THROWS_AS(ls::scatter<3>(whole, ls::batch_split<3>({4, 4, 2})), ls::value_error);
  CHECK_THROWS_WITH(ls::scatter<3>(whole, negative),
                    "lockstep: scatter: expected 3 counts of zero or more that sum to 9, got 10 + -3 + 2; count every "
                    "sample once, in the order of the replicas");
}
