// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <cmath>
#include <cstdint>

#include <lockstep/backend/element_math.hpp>
#include <lockstep/core/config.hpp>

/// \file
/// Exponentials and logarithms in place, for a number, and for a vector of floats in a register: those lie within a few
/// units in the last place of the exact value, where the libraries of C++ have none at all.

namespace lockstep::detail {

/// x = e^x.
template <class T>
LOCKSTEP_HOST_DEVICE LOCKSTEP_ALWAYS_INLINE void take_exponential(T& x) {
  x = std::exp(x);
}
/// x = log(1 + x), for x in [0, 1].
template <class T>
LOCKSTEP_HOST_DEVICE LOCKSTEP_ALWAYS_INLINE void take_log_one_plus(T& x) {
  x = std::log1p(x);
}
/// x = log(x), for positive normal numbers.
template <class T>
LOCKSTEP_HOST_DEVICE LOCKSTEP_ALWAYS_INLINE void take_logarithm(T& x) {
  x = std::log(x);
}

using eight_integers = std::int32_t __attribute__((vector_size(32)));
using sixteen_integers = std::int32_t __attribute__((vector_size(64)));

/// Vectors of floats (V) by what their bits are as integers (Bits).
template <class V, class Bits>
struct vector_functions {
  /// Floats of this size are whole numbers: adding it rounds x, and leaves the integer in the last bits.
  static constexpr float rounder = 0x1.8p23F;
  static constexpr std::int32_t rounder_bits = 0x4B400000;

  static LOCKSTEP_ALWAYS_INLINE void bits_of(const V& v, Bits& bits) { __builtin_memcpy(&bits, &v, sizeof v); }
  static LOCKSTEP_ALWAYS_INLINE void floats_of(const Bits& bits, V& v) { __builtin_memcpy(&v, &bits, sizeof v); }

  /// v = 2^n.
  static LOCKSTEP_ALWAYS_INLINE void power_of_two(const Bits& n, V& v) {
    const Bits bits = (n + 127) << 23;
    floats_of(bits, v);
  }

  /// e^x = 2^n e^r with |r| <= log(2) / 2; the polynomial is that of Cephes' expf. 2^n is taken as two factors, so that
  /// neither of them leaves the range of a float where the product does not.
  static LOCKSTEP_ALWAYS_INLINE void exponential(V& x) {
    clip(x, 104.F);
    const V shifted = x * 0x1.715476p0F + rounder;
    Bits n;
    bits_of(shifted, n);
    n -= rounder_bits;
    const V whole = shifted - rounder;
    const V r = (x - whole * 0x1.63p-1F) - whole * -0x1.bd0106p-13F;
    V p = r * 1.9875691500e-4F + 1.3981999507e-3F;
    p = p * r + 8.3334519073e-3F;
    p = p * r + 4.1665795894e-2F;
    p = p * r + 1.6666665459e-1F;
    p = p * r + 5.0000001201e-1F;
    p = p * (r * r) + r + 1.F;
    const Bits half = n >> 1;
    V low;
    V high;
    power_of_two(half, low);
    power_of_two(n - half, high);
    x = p * low * high;
  }

  /// 2^x for x that is not positive; 0 where that is no normal float. x = n + r with |r| <= 1/2, and the polynomial of
  /// 2^r, whose relative error is below 1e-7, is exact at 0.
  static LOCKSTEP_ALWAYS_INLINE void power_of_negative(V& x) {
    constexpr float biased = rounder + 127;  // leaves n in the last bits as the exponent of a float has it
    raise_to(x, -127.F);                     // whose exponent has no bits: the factor is 0
    const V shifted = x + biased;
    const V r = x - (shifted - biased);
    Bits bits;
    bits_of(shifted, bits);
    V factor;
    floats_of(bits << 23, factor);
    V p = r * 0x1.5bba14p-10F + 0x1.3cea88p-7F;
    p = p * r + 0x1.c6b752p-5F;
    p = p * r + 0x1.ebf9bcp-3F;
    p = p * r + 0x1.62e42ap-1F;
    x = p * (r * factor) + factor;
  }

  /// x = log((1 + x) / (1 - x)) for x in [0, 1/3]: 2 (x + x^3 / 3 + x^5 / 5 + ...), the rest of the series fitted.
  static LOCKSTEP_ALWAYS_INLINE void log_of_quotient(V& x) {
    const V square = x * x;
    V p = square * 0.14005999F + 0.14000902F;
    p = p * square + 0.20010763F;
    p = p * square + 0.33333209F;
    x += x;
    x += x * square * p;
  }

  static LOCKSTEP_ALWAYS_INLINE void log_one_plus(V& x) {
    x = x / (x + 2.F);
    log_of_quotient(x);
  }

  /// x = 2^n m with m in [sqrt(1/2), sqrt(2)).
  static LOCKSTEP_ALWAYS_INLINE void logarithm(V& x) {
    constexpr std::int32_t lowest = 0x3F3504F3;  // sqrt(1/2)
    Bits bits;
    bits_of(x, bits);
    bits -= lowest;
    const Bits n = (bits >> 23) + rounder_bits;
    bits = (bits & 0x7FFFFF) + lowest;
    V whole;
    V m;
    floats_of(n, whole);
    floats_of(bits, m);
    whole -= rounder;
    x = (m - 1.F) / (m + 1.F);
    log_of_quotient(x);
    x += whole * 0x1.62e430p-1F;
  }
};
using functions_of_eight = vector_functions<eight_floats, eight_integers>;
using functions_of_sixteen = vector_functions<sixteen_floats, sixteen_integers>;

LOCKSTEP_ALWAYS_INLINE void take_exponential(eight_floats& x) { functions_of_eight::exponential(x); }
LOCKSTEP_ALWAYS_INLINE void take_exponential(sixteen_floats& x) { functions_of_sixteen::exponential(x); }

/// x = 2^x for x <= 0, and 0 where that is no normal float, in half the time of an exponential; a NaN stays one.
LOCKSTEP_ALWAYS_INLINE void take_power_of_negative(eight_floats& x) { functions_of_eight::power_of_negative(x); }
LOCKSTEP_ALWAYS_INLINE void take_power_of_negative(sixteen_floats& x) { functions_of_sixteen::power_of_negative(x); }

LOCKSTEP_ALWAYS_INLINE void take_log_one_plus(eight_floats& x) { functions_of_eight::log_one_plus(x); }
LOCKSTEP_ALWAYS_INLINE void take_log_one_plus(sixteen_floats& x) { functions_of_sixteen::log_one_plus(x); }

LOCKSTEP_ALWAYS_INLINE void take_logarithm(eight_floats& x) { functions_of_eight::logarithm(x); }
LOCKSTEP_ALWAYS_INLINE void take_logarithm(sixteen_floats& x) { functions_of_sixteen::logarithm(x); }

}  // namespace lockstep::detail
