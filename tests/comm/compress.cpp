// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include <lockstep/comm/compress.hpp>

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <span>
#include <type_traits>
#include <vector>

#include "comm/ranks.hpp"
#include "support/catch.hpp"
#include "support/difference.hpp"

namespace {

namespace ls = lockstep;
using comm_test::draw;
using comm_test::run_ranks;

template <class Format>
float round_to(float x) {
  return Format::decode(Format::encode(x));
}

/// Remembers how wide the values were said to be.
struct wide_wire : ls::single_rank {
  using ls::single_rank::all_reduce;
  void all_reduce(std::span<float>, ls::wire_bits width) { seen = width.value; }
  int seen = 0;
};

}  // namespace

TEMPLATE_TEST_CASE("16-bit hooks round each rank's gradients and sum in float32", "[comm][compress]", ls::float16,
                   ls::bfloat16) {
  constexpr int world = 3;
  constexpr std::size_t n = 1003;  // no multiple of a vector
  std::vector<std::vector<float>> sums(world, std::vector<float>(n));
  std::vector<std::int64_t> bytes(world);
  const auto messages = run_ranks(world, [&](auto& c) {
    const auto r = static_cast<std::size_t>(c.rank());
    ls::rounding_hook<TestType> hook;
    for (std::size_t i = 0; i < n; ++i) sums[r][i] = draw(1, r, i);
    hook(c, ls::bucket_view{.index = 0, .gradients = sums[r], .tensors = {}});
    bytes[r] = hook.wire_bytes();
  });
  for (const auto& m : messages) REQUIRE(m.empty());
  int wrong = 0;
  int rounded = 0;
  for (std::size_t i = 0; i < n; ++i) {
    const float a = round_to<TestType>(draw(1, 0, i));
    const float b = round_to<TestType>(draw(1, 1, i));
    const float d = round_to<TestType>(draw(1, 2, i));
    rounded += a != draw(1, 0, i) ? 1 : 0;
    for (const auto& s : sums) wrong += s[i] == (a + b) + d ? 0 : 1;
  }
  CHECK(wrong == 0);
  CHECK(rounded > 900);
  CHECK(bytes == std::vector<std::int64_t>(world, 2 * n));
}

TEMPLATE_TEST_CASE("error feedback loses nothing over many steps", "[comm][compress]", ls::float16, ls::bfloat16) {
  constexpr std::size_t n = 500;
  constexpr int steps = 300;
  ls::single_rank alone;
  ls::rounding_hook<TestType> plain;
  ls::rounding_hook<TestType> careful({.error_feedback = true});
  std::vector<double> truth(n);
  std::vector<double> by_plain(n);
  std::vector<double> by_careful(n);
  std::vector<float> g(n);
  for (int step = 0; step < steps; ++step) {
    // Much the same each time: rounding alone errs in the same direction again and again.
    const auto gradient = [&](std::size_t i) {
      return draw(2, 0, i) + 1e-4F * draw(3, static_cast<std::uint64_t>(step), i);
    };
    for (std::size_t i = 0; i < n; ++i) truth[i] += double{g[i] = gradient(i)};
    plain(alone, ls::bucket_view{.index = 2, .gradients = g, .tensors = {}});
    for (std::size_t i = 0; i < n; ++i) by_plain[i] += double{g[i]};
    for (std::size_t i = 0; i < n; ++i) g[i] = gradient(i);
    careful(alone, ls::bucket_view{.index = 2, .gradients = g, .tensors = {}});
    for (std::size_t i = 0; i < n; ++i) by_careful[i] += double{g[i]};
  }
  const double worst_plain = lockstep_test::largest_difference(by_plain, truth);
  const double worst_careful = lockstep_test::largest_difference(by_careful, truth);
  CHECK(std::isfinite(worst_plain));
  // The sum is off by one residual, half a unit of the last place of values up to 1, however many steps there were.
  const double unit = std::is_same_v<TestType, ls::float16> ? 0x1p-11 : 0x1p-8;
  CHECK(worst_careful <= 0.5 * unit * 1.02);
  CHECK(worst_plain > 10 * unit);
}

TEST_CASE("what does not fit the format is passed on once, and not kept", "[comm][compress]") {
  ls::single_rank alone;
  ls::fp16_hook hook({.error_feedback = true});
  constexpr float infinity = std::numeric_limits<float>::infinity();
  std::vector<float> g{1e6F, -infinity, std::nanf(""), 1.F};
  hook(alone, ls::bucket_view{.index = 0, .gradients = g, .tensors = {}});
  CHECK(g[0] == infinity);  // as torch.float16: no saturation
  CHECK(g[1] == -infinity);
  CHECK(std::isnan(g[2]));
  g.assign(4, 2.F);
  hook(alone, ls::bucket_view{.index = 0, .gradients = g, .tensors = {}});
  CHECK(g == std::vector<float>(4, 2.F));
}

TEST_CASE("16-bit hooks keep a residual per bucket, and notice another length", "[comm][compress]") {
  ls::single_rank alone;
  ls::bf16_hook hook({.error_feedback = true});
  constexpr float value = 1.F + 0x1p-9F;  // rounds to 1 and leaves 2^-9; twice that is half way to the next value
  std::vector<float> g(1, value);
  std::vector<float> other(2, value);
  hook(alone, ls::bucket_view{.index = 1, .gradients = g, .tensors = {}});
  hook(alone, ls::bucket_view{.index = 0, .gradients = other, .tensors = {}});
  CHECK(g[0] == 1.F);
  CHECK(other[0] == 1.F);
  float total = g[0];
  for (int step = 1; step < 4; ++step) {
    g[0] = value;
    hook(alone, ls::bucket_view{.index = 1, .gradients = g, .tensors = {}});
    total += g[0];
  }
  CHECK(total == 4 * value);
  CHECK(hook.wire_bytes() == 2 * (1 + 2 + 3 * 1));  // of all buckets and steps
  CHECK_THROWS_WITH(hook(alone, ls::bucket_view{.index = 1, .gradients = other, .tensors = {}}),
                    Catch::Contains("bucket 1 with 1 gradients"));
  CHECK_THROWS_AS(hook(alone, ls::bucket_view{.index = -1, .gradients = other, .tensors = {}}), ls::value_error);
  hook.reset();
  CHECK_NOTHROW(hook(alone, ls::bucket_view{.index = 1, .gradients = other, .tensors = {}}));
}

TEST_CASE("a communicator that cares learns the width on the wire", "[comm][compress]") {
  wide_wire wire;
  std::vector<float> g(3);
  ls::fp16_hook hook;
  hook(wire, ls::bucket_view{.index = 0, .gradients = g, .tensors = {}});
  CHECK(wire.seen == 16);
}
