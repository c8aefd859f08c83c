// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include <lockstep/core/half.hpp>

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <limits>

#include <lockstep/core/random.hpp>

#include "support/catch.hpp"

namespace {

namespace ls = lockstep;

constexpr float infinity = std::numeric_limits<float>::infinity();

static_assert(ls::float16::encode(1.F) == 0x3C00);
static_assert(ls::float16::decode(0x7BFF) == 65504.F);
static_assert(ls::bfloat16::encode(-2.F) == 0xC000);

/// The definition, in double: the format's value nearest to x, the even one of two, with `fraction` bits of fraction,
/// `lowest` as exponent of the smallest normal number, and `largest` as the first power of two out of reach.
double nearest(double x, int fraction, int lowest, double largest) {
  if (std::isnan(x) || std::isinf(x) || x == 0) return x;
  int exponent = 0;
  static_cast<void>(std::frexp(x, &exponent));
  const double unit = std::ldexp(1.0, std::max(exponent - 1, lowest) - fraction);
  const double rounded = std::nearbyint(x / unit) * unit;  // x / unit is exact, and short enough for nearbyint
  return std::fabs(rounded) >= largest ? std::copysign(infinity, x) : std::copysign(rounded, x);
}

double nearest_float16(double x) { return nearest(x, 10, -14, 0x1p16); }
double nearest_bfloat16(double x) { return nearest(x, 7, -126, 0x1p128); }

/// Calls f with the floats that rounding can go wrong for: all exponents, with fractions on, just beside and far from
/// the halfway points of both formats, and with random ones.
template <class F>
void each_hard_float(const F& f) {
  const ls::random_stream random(ls::seed{3}, ls::random_purpose::synthetic_data);
  std::uint64_t draw = 0;
  for (std::uint32_t exponent = 0; exponent < 256; ++exponent) {
    for (const std::uint32_t sign : {0U, 1U}) {
      const std::uint32_t base = (sign << 31U) | (exponent << 23U);
      // The halfway point of a subnormal float16 lies at any bit.
      for (std::uint32_t bit = 0; bit < 23; ++bit)
        for (const std::uint32_t high : {0U, 0x555555U, 0x7FFFFFU, random.bits(draw++) & 0x7FFFFFU}) {
          const std::uint32_t half = ((high >> bit << bit) ^ (1U << bit)) & 0x7FFFFFU;
          for (const std::uint32_t fraction : {half - 1, half, half + 1})
            f(std::bit_cast<float>(base | (fraction & 0x7FFFFFU)));
        }
      for (int i = 0; i < 500; ++i) f(std::bit_cast<float>(base | (random.bits(draw++) & 0x7FFFFFU)));
    }
  }
}

bool same(float a, double b) {
  return std::isnan(b) ? std::isnan(a) : double{a} == b && std::signbit(a) == std::signbit(b);
}

bool same_bits(float a, float b) { return std::bit_cast<std::uint32_t>(a) == std::bit_cast<std::uint32_t>(b); }

}  // namespace

TEST_CASE("rounding to 16 bits goes to the nearest value, ties to even", "[core][half]") {
  int wrong_half = 0;
  int wrong_bfloat = 0;
  int wrong_round = 0;
  each_hard_float([&](float x) {
    wrong_half += same(ls::float16::decode(ls::float16::encode(x)), nearest_float16(double{x})) ? 0 : 1;
    wrong_bfloat += same(ls::bfloat16::decode(ls::bfloat16::encode(x)), nearest_bfloat16(double{x})) ? 0 : 1;
    wrong_round += same_bits(ls::float16::round(x), ls::float16::decode(ls::float16::encode(x))) ? 0 : 1;
    wrong_round += same_bits(ls::bfloat16::round(x), ls::bfloat16::decode(ls::bfloat16::encode(x))) ? 0 : 1;
  });
  CHECK(wrong_round == 0);
  CHECK(wrong_half == 0);
  CHECK(wrong_bfloat == 0);
}

TEST_CASE("every 16-bit pattern survives the way to float and back", "[core][half]") {
  int wrong = 0;
  for (std::uint32_t bits = 0; bits <= 0xFFFF; ++bits) {
    const auto half = static_cast<std::uint16_t>(bits);
    // A signalling NaN comes back quiet.
    const bool half_nan = (bits & 0x7FFFU) > 0x7C00U;
    wrong += ls::float16::encode(ls::float16::decode(half)) == (half_nan ? bits | 0x200U : bits) ? 0 : 1;
    const bool bfloat_nan = (bits & 0x7FFFU) > 0x7F80U;
    wrong += ls::bfloat16::encode(ls::bfloat16::decode(half)) == (bfloat_nan ? bits | 0x40U : bits) ? 0 : 1;
  }
  CHECK(wrong == 0);
}

TEST_CASE("the largest, the smallest and what lies beyond", "[core][half]") {
  CHECK(ls::float16::encode(65519.996F) == 0x7BFF);
  CHECK(ls::float16::encode(65520.F) == 0x7C00);
  CHECK(ls::float16::encode(-1e30F) == 0xFC00);
  CHECK(ls::float16::encode(infinity) == 0x7C00);
  CHECK(ls::float16::encode(0x1p-24F) == 0x0001);
  CHECK(ls::float16::encode(0x1p-25F) == 0x0000);
  CHECK(ls::float16::encode(std::nextafter(0x1p-25F, 1.F)) == 0x0001);
  CHECK(ls::float16::encode(-0.F) == 0x8000);
  CHECK(ls::float16::encode(std::numeric_limits<float>::denorm_min()) == 0);
  CHECK(ls::float16::encode(std::numeric_limits<float>::quiet_NaN()) == 0x7E00);
  CHECK(ls::bfloat16::encode(std::numeric_limits<float>::max()) == 0x7F80);
  CHECK(ls::bfloat16::encode(std::bit_cast<float>(0x7F7F7FFFU)) == 0x7F7F);
  CHECK(ls::bfloat16::encode(std::bit_cast<float>(0x7F800001U)) == 0x7FC0);  // a NaN whose payload is cut off
  CHECK(ls::bfloat16::encode(std::bit_cast<float>(0xFFFFFFFFU)) == 0xFFFF);
}

TEST_CASE("float16 is the compiler's", "[core][half]") {
#if defined(__FLT16_MANT_DIG__)
  __extension__ using compiler_half = _Float16;
  int wrong = 0;
  for (std::uint32_t bits = 0; bits <= 0xFFFF; ++bits) {
    const auto half = static_cast<std::uint16_t>(bits);
    const auto theirs = static_cast<float>(std::bit_cast<compiler_half>(half));
    const float ours = ls::float16::decode(half);
    wrong += std::isnan(theirs) ? (std::isnan(ours) ? 0 : 1)
                                : (std::bit_cast<std::uint32_t>(ours) == std::bit_cast<std::uint32_t>(theirs) ? 0 : 1);
  }
  CHECK(wrong == 0);
  each_hard_float([&](float x) {
    const auto theirs = std::bit_cast<std::uint16_t>(static_cast<compiler_half>(x));
    wrong += ls::float16::encode(x) == theirs ? 0 : 1;
  });
  CHECK(wrong == 0);
#else
  LOCKSTEP_SKIP("this compiler has no _Float16");
#endif
}
