// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include <lockstep/core/random.hpp>

#include <array>
#include <cstddef>
#include <cstdint>
#include <set>
#include <vector>

#include "support/catch.hpp"

namespace {

namespace ls = lockstep;

using words = std::array<std::uint32_t, 4>;
using key = std::array<std::uint32_t, 2>;

constexpr std::uint32_t ones = 0xffffffffU;

// The lines "philox4x32 10" of Random123's tests/kat_vectors: counter, key, result.
static_assert(ls::philox4x32_10(words{0, 0, 0, 0}, key{0, 0}) ==
              words{0x6627e8d5U, 0xe169c58dU, 0xbc57ac4cU, 0x9b00dbd8U});
static_assert(ls::philox4x32_10(words{ones, ones, ones, ones}, key{ones, ones}) ==
              words{0x408f276dU, 0x41c83b0eU, 0xa20bc7c6U, 0x6d5451fdU});
static_assert(ls::philox4x32_10(words{0x243f6a88U, 0x85a308d3U, 0x13198a2eU, 0x03707344U},
                                key{0xa4093822U, 0x299f31d0U}) ==
              words{0xd16cfe09U, 0x94fdccebU, 0x5001e420U, 0x24126ea1U});

static_assert(ls::to_unit_float(0) == 0.F);
static_assert(ls::to_unit_float(ones) < 1.F);
static_assert(ls::to_unit_float(ones) == 1.F - 0x1p-24F);
static_assert(ls::to_unit_float(0x80000000U) == 0.5F);
static_assert(ls::to_unit_float(0xffU) == 0.F);
static_assert(ls::to_unit_float(0x100U) == 0x1p-24F);

constexpr ls::random_stream constant(ls::seed{1}, ls::random_purpose::dropout);
static_assert(constant.bits(5) == constant.block(1)[1]);

/// Pearson's statistic of counts against equal expectations.
double chi_square(const std::vector<int>& counts) {
  double total = 0;
  for (const int c : counts) total += c;
  const double expected = total / static_cast<double>(counts.size());
  double statistic = 0;
  for (const int c : counts) statistic += (c - expected) * (c - expected) / expected;
  return statistic;
}

using fingerprint = std::array<std::uint32_t, 4>;

fingerprint first_block(std::uint64_t seed, ls::random_purpose purpose, std::uint64_t a = 0, std::uint64_t b = 0) {
  return ls::random_stream(ls::seed{seed}, purpose, a, b).block(0);
}

constexpr std::array purposes{ls::random_purpose::initialization, ls::random_purpose::dropout,
                              ls::random_purpose::shuffle, ls::random_purpose::synthetic_data,
                              ls::random_purpose::augmentation};

}  // namespace

TEST_CASE("Philox 4x32-10 gives the known answers at run time too") {
  words counter{0x243f6a88U, 0x85a308d3U, 0x13198a2eU, 0x03707344U};
  CHECK(ls::philox4x32_10(counter, key{0xa4093822U, 0x299f31d0U}) ==
        words{0xd16cfe09U, 0x94fdccebU, 0x5001e420U, 0x24126ea1U});
}

TEST_CASE("a draw depends on its index alone") {
  const ls::random_stream stream(ls::seed{42}, ls::random_purpose::shuffle, 3, 5);
  const ls::random_stream same(ls::seed{42}, ls::random_purpose::shuffle, 3, 5);
  for (std::uint64_t i = 40; i-- > 0;) {
    CHECK(stream.bits(i) == same.bits(i));
    CHECK(stream.bits(i) == stream.block(i / 4)[static_cast<std::size_t>(i % 4)]);
    CHECK(stream.uniform(i) == ls::to_unit_float(stream.bits(i)));
  }
}

TEST_CASE("the index counts beyond 32 bits") {
  const ls::random_stream stream(ls::seed{42}, ls::random_purpose::synthetic_data);
  const std::uint64_t wrap = std::uint64_t{1} << 32U;
  CHECK(stream.block(0) != stream.block(wrap));
  CHECK(stream.block(1) != stream.block(wrap + 1));
}

TEST_CASE("streams of one seed differ in purpose and coordinates") {
  std::set<fingerprint> seen;
  std::size_t streams = 0;
  const std::uint64_t high = std::uint64_t{1} << 32U;
  for (const auto purpose : purposes)
    for (const std::uint64_t a : {std::uint64_t{0}, std::uint64_t{1}, std::uint64_t{2}, std::uint64_t{65536}, high})
      for (const std::uint64_t b : {std::uint64_t{0}, std::uint64_t{1}, std::uint64_t{2}, std::uint64_t{65536}, high}) {
        seen.insert(first_block(7, purpose, a, b));
        ++streams;
      }
  CHECK(streams == 125);
  CHECK(seen.size() == streams);
}

TEST_CASE("streams of different seeds differ, in both halves of the seed") {
  std::set<fingerprint> seen;
  for (std::uint64_t seed = 0; seed < 64; ++seed) {
    seen.insert(first_block(seed, ls::random_purpose::dropout));
    seen.insert(first_block((seed + 1) << 32U, ls::random_purpose::dropout));
  }
  CHECK(seen.size() == 128);
}

TEST_CASE("no purpose of one seed repeats another purpose of another seed") {
  std::set<fingerprint> seen;
  for (std::uint64_t seed = 0; seed < 16; ++seed)
    for (const auto purpose : purposes) seen.insert(first_block(seed, purpose));
  CHECK(seen.size() == 16 * purposes.size());
}

TEST_CASE("uniform draws fill [0, 1) evenly") {
  const ls::random_stream stream(ls::seed{1}, ls::random_purpose::initialization);
  constexpr int draws = 1 << 14;
  std::vector<int> bins(16);
  double sum = 0;
  double square = 0;
  int inside = 0;
  for (std::uint64_t i = 0; i < draws; ++i) {
    const float u = stream.uniform(i);
    inside += u >= 0.F && u < 1.F ? 1 : 0;
    ++bins[static_cast<std::size_t>(u * 16.F)];
    sum += double{u};
    square += double{u} * double{u};
  }
  CHECK(inside == draws);
  CHECK(chi_square(bins) < 37.7);  // 99.9 % of true samples with 15 degrees of freedom
  CHECK(sum / draws == Approx(0.5).margin(4 * 0.2887 / 128));
  CHECK(square / draws == Approx(1.0 / 3).margin(4 * 0.2981 / 128));
}

TEST_CASE("neighbouring draws and neighbouring streams are not correlated") {
  constexpr int draws = 1 << 14;
  const ls::random_stream one(ls::seed{1}, ls::random_purpose::dropout, 0, 0);
  const ls::random_stream two(ls::seed{1}, ls::random_purpose::dropout, 0, 1);
  double along = 0;
  double across = 0;
  for (std::uint64_t i = 0; i < draws; ++i) {
    const double u = double{one.uniform(i)} - 0.5;
    along += u * (double{one.uniform(i + 1)} - 0.5);
    across += u * (double{two.uniform(i)} - 0.5);
  }
  // The mean of n products of independent draws has deviation 1 / (12 sqrt(n)).
  CHECK(along / draws == Approx(0).margin(4.0 / (12 * 128)));
  CHECK(across / draws == Approx(0).margin(4.0 / (12 * 128)));
}

TEST_CASE("below stays under its bound and reaches every value evenly") {
  const ls::random_stream stream(ls::seed{9}, ls::random_purpose::shuffle, 1);
  for (std::uint64_t i = 0; i < 100; ++i) CHECK(stream.below(1, i) == 0);

  std::vector<int> counts(10);
  for (std::uint64_t i = 0; i < 10000; ++i) {
    const std::uint32_t v = stream.below(10, i);
    REQUIRE(v < 10);
    ++counts[v];
  }
  CHECK(chi_square(counts) < 27.9);  // 99.9 % of true samples with 9 degrees of freedom

  for (std::uint64_t i = 0; i < 1000; ++i) {
    const std::uint32_t bound = 0xfffffff0U;
    REQUIRE(stream.below(bound, i) < bound);
  }
}
