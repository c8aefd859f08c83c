// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <cmath>

#include <lockstep/backend/element_exponential.hpp>
#include <lockstep/backend/element_math.hpp>
#include <lockstep/core/config.hpp>

/// \file
/// Exponential functions for a number, and for a vector of floats in a register without a call of the C library: what
/// activations are made of. For vectors, errors are at most 3 units in the last place of a float, and 6 for shares of
/// the normal distribution, where the result is a normal number; a NaN stays one. The polynomials are minimax
/// approximations of the relative error.

namespace lockstep::detail {

/// x = the number c, in every lane.
template <class T, class Number>
LOCKSTEP_HOST_DEVICE LOCKSTEP_ALWAYS_INLINE void fill(T& x, const Number& c) {
  x = static_cast<T>(c);
}
/// x = -|x|.
template <class T>
LOCKSTEP_HOST_DEVICE LOCKSTEP_ALWAYS_INLINE void take_minus_magnitude(T& x) {
  x = -std::abs(x);
}
/// x = `then` where `by` is above zero.
template <class T>
LOCKSTEP_HOST_DEVICE LOCKSTEP_ALWAYS_INLINE void take_where_positive(T& x, const T& by, const T& then) {
  x = by > T{0} ? then : x;
}

// Not templates: nvcc fails on selections between vectors in templates, and on vectors that are constants there.

inline constexpr int sign_bit = static_cast<int>(0x80000000U);

LOCKSTEP_ALWAYS_INLINE void fill(eight_floats& x, const float& c) { x = c - eight_floats{}; }
LOCKSTEP_ALWAYS_INLINE void fill(sixteen_floats& x, const float& c) { x = c - sixteen_floats{}; }

LOCKSTEP_ALWAYS_INLINE void take_minus_magnitude(eight_floats& x) { x = (eight_floats)((eight_integers)x | sign_bit); }
LOCKSTEP_ALWAYS_INLINE void take_minus_magnitude(sixteen_floats& x) {
  x = (sixteen_floats)((sixteen_integers)x | sign_bit);
}

LOCKSTEP_ALWAYS_INLINE void take_where_positive(eight_floats& x, const eight_floats& by, const eight_floats& then) {
  x = by > eight_floats{} ? then : x;
}
LOCKSTEP_ALWAYS_INLINE void take_where_positive(sixteen_floats& x, const sixteen_floats& by,
                                                const sixteen_floats& then) {
  x = by > sixteen_floats{} ? then : x;
}

/// x = x with the sign of `of`.
LOCKSTEP_ALWAYS_INLINE void take_sign_of(eight_floats& x, const eight_floats& of) {
  x = (eight_floats)(((eight_integers)x & ~sign_bit) | ((eight_integers)of & sign_bit));
}
LOCKSTEP_ALWAYS_INLINE void take_sign_of(sixteen_floats& x, const sixteen_floats& of) {
  x = (sixteen_floats)(((sixteen_integers)x & ~sign_bit) | ((sixteen_integers)of & sign_bit));
}

/// Keeps 12 bits of a float, so that its square is exact.
LOCKSTEP_ALWAYS_INLINE void keep_upper_bits(eight_floats& x) { x = (eight_floats)((eight_integers)x & ~0xFFF); }
LOCKSTEP_ALWAYS_INLINE void keep_upper_bits(sixteen_floats& x) { x = (sixteen_floats)((sixteen_integers)x & ~0xFFF); }

/// x = 2^(k - 127), where x is k + 1.5 * 2^23 and k lies in 1 .. 254.
LOCKSTEP_ALWAYS_INLINE void take_power(eight_floats& x) { x = (eight_floats)((eight_integers)x << 23); }
LOCKSTEP_ALWAYS_INLINE void take_power(sixteen_floats& x) { x = (sixteen_floats)((sixteen_integers)x << 23); }

/// x = `least` where x is below it.
template <class V>
LOCKSTEP_ALWAYS_INLINE void raise_to(V& x, const float& least) {
  V bound;
  fill(bound, least);
  take_larger(bound, x);
  x = bound;
}

/// x = k + 1.5 * 2^23, where k is the whole number nearest to x / ln(2), and `rest` = x - k ln(2).
template <class V>
LOCKSTEP_ALWAYS_INLINE void divide_by_log2(V& x, V& rest) {
  constexpr float shift = 12582912.F;                        // in its binade, floats are whole numbers
  constexpr float log2[] = {0.693359375F, -2.12194440e-4F};  // the first has few bits: its products are exact
  rest = x;
  x = x * 1.44269504F + shift;
  const V k = x - shift;
  rest = rest - k * log2[0];
  rest = rest - k * log2[1];
}

/// x = (e^x - 1 - x) / x^2 for |x| <= ln(2) / 2. Source: Cephes, expf.
template <class V>
LOCKSTEP_ALWAYS_INLINE void take_exponential_rest(V& x) {
  const V r = x;
  x = r * 1.9875691500e-4F + 1.3981999507e-3F;
  x = x * r + 8.3334519073e-3F;
  x = x * r + 4.1665795894e-2F;
  x = x * r + 1.6666665459e-1F;
  x = x * r + 5.0000001201e-1F;
}

/// x = e^(x + rest) for x in [-106, 0] and a rest near 0.
template <class V>
LOCKSTEP_ALWAYS_INLINE void take_exponential_of_sum(V& x, const V& rest) {
  constexpr float steps = 32;  // so many powers of two come last: until then subnormal results are normal numbers
  V power = x;
  V r;
  divide_by_log2(power, r);
  r += rest;
  x = r;
  take_exponential_rest(x);
  x = x * r * r + r + 1.F;
  power += 127 + steps;
  take_power(power);
  x = x * power * (1 / 4294967296.F);
}

template <class V>
LOCKSTEP_ALWAYS_INLINE void vector_exponential(V& x) {
  raise_to(x, -104.F);
  V nothing;
  fill(nothing, 0.F);
  take_exponential_of_sum(x, nothing);
}

template <class V>
LOCKSTEP_ALWAYS_INLINE void vector_exponential_less_one(V& x) {
  raise_to(x, -18.F);
  V power = x;
  V r;
  divide_by_log2(power, r);
  x = r;
  take_exponential_rest(x);
  x = x * r * r + r;
  power += 127.F;
  take_power(power);
  x = x * power + (power - 1.F);
}

template <class V>
LOCKSTEP_ALWAYS_INLINE void vector_sigmoid(V& x) {
  V e = x;
  take_minus_magnitude(e);
  vector_exponential(e);
  V one;
  fill(one, 1.F);
  V above = e;
  take_where_positive(above, x, one);
  x = above / (1.F + e);
}

template <class V>
LOCKSTEP_ALWAYS_INLINE void vector_sigmoids(V& x, V& rest) {
  V e = x;
  take_minus_magnitude(e);
  vector_exponential(e);
  V one;
  fill(one, 1.F);
  const V inverse = 1.F / (1.F + e);
  V above = e;
  take_where_positive(above, x, one);
  rest = one;
  take_where_positive(rest, x, e);
  rest *= inverse;
  x = above * inverse;
}

template <class V>
LOCKSTEP_ALWAYS_INLINE void vector_tanh(V& x) {
  V e = x;
  take_minus_magnitude(e);
  e += e;
  vector_exponential_less_one(e);
  e = e / (2.F + e);
  take_sign_of(e, x);
  x = e;
}

/// With t = 1 / (1 + 0.35 |x|), the share below -|x| is exp(-x^2 / 2) t P(t), P a polynomial.
template <class V>
LOCKSTEP_ALWAYS_INLINE void vector_normal_distribution(const V& x, V& below, V& density) {
  V a = x;
  take_minus_magnitude(a);
  raise_to(a, -14.5F);  // where both are zero
  const V t = 1.F / (1.F - 0.35F * a);
  V sum = t * -0.029157869517803192F + 0.1440308541059494F;
  sum = sum * t - 0.25583887100219727F;
  sum = sum * t + 0.15931956470012665F;
  sum = sum * t - 0.023212261497974396F;
  sum = sum * t + 0.10555246472358704F;
  sum = sum * t + 0.11982129514217377F;
  sum = sum * t + 0.1398634910583496F;
  sum = sum * t + 0.1396213173866272F;
  // The square in two parts: an error of its last bit would be many of the exponential's.
  V upper = a;
  keep_upper_bits(upper);
  V e = upper * upper * -0.5F;
  take_exponential_of_sum(e, (upper - a) * (upper + a) * 0.5F);
  density = e * 0.3989422804F;
  const V q = e * (t * sum);
  below = q;
  take_where_positive(below, x, 1.F - q);
}

/// x = e^x - 1, for x of zero or less.
template <class T>
LOCKSTEP_HOST_DEVICE LOCKSTEP_ALWAYS_INLINE void take_exponential_less_one(T& x) {
  x = std::expm1(x);
}
LOCKSTEP_ALWAYS_INLINE void take_exponential_less_one(eight_floats& x) { vector_exponential_less_one(x); }
LOCKSTEP_ALWAYS_INLINE void take_exponential_less_one(sixteen_floats& x) { vector_exponential_less_one(x); }

/// x = 1 / (1 + e^-x).
template <class T>
LOCKSTEP_HOST_DEVICE LOCKSTEP_ALWAYS_INLINE void take_sigmoid(T& x) {
  const T e = std::exp(-std::abs(x));
  x = (x > T{0} ? T{1} : e) / (T{1} + e);
}
LOCKSTEP_ALWAYS_INLINE void take_sigmoid(eight_floats& x) { vector_sigmoid(x); }
LOCKSTEP_ALWAYS_INLINE void take_sigmoid(sixteen_floats& x) { vector_sigmoid(x); }

/// x = 1 / (1 + e^-x) and `rest` = 1 - that, which is exact where it is small too.
template <class T>
LOCKSTEP_HOST_DEVICE LOCKSTEP_ALWAYS_INLINE void take_sigmoids(T& x, T& rest) {
  const T e = std::exp(-std::abs(x));
  const bool positive = x > T{0};
  x = (positive ? T{1} : e) / (T{1} + e);
  rest = (positive ? e : T{1}) / (T{1} + e);
}
LOCKSTEP_ALWAYS_INLINE void take_sigmoids(eight_floats& x, eight_floats& rest) { vector_sigmoids(x, rest); }
LOCKSTEP_ALWAYS_INLINE void take_sigmoids(sixteen_floats& x, sixteen_floats& rest) { vector_sigmoids(x, rest); }

/// x = its hyperbolic tangent.
template <class T>
LOCKSTEP_HOST_DEVICE LOCKSTEP_ALWAYS_INLINE void take_tanh(T& x) {
  x = std::tanh(x);
}
LOCKSTEP_ALWAYS_INLINE void take_tanh(eight_floats& x) { vector_tanh(x); }
LOCKSTEP_ALWAYS_INLINE void take_tanh(sixteen_floats& x) { vector_tanh(x); }

/// The standard normal distribution: `below` = its share below x, (1 + erf(x / sqrt(2))) / 2, and its density at x.
template <class T>
LOCKSTEP_HOST_DEVICE LOCKSTEP_ALWAYS_INLINE void take_normal_distribution(const T& x, T& below, T& density) {
  below = std::erfc(x * static_cast<T>(-0.7071067811865476)) / T{2};
  density = std::exp(x * x / T{-2}) * static_cast<T>(0.3989422804014327);
}
LOCKSTEP_ALWAYS_INLINE void take_normal_distribution(const eight_floats& x, eight_floats& below,
                                                     eight_floats& density) {
  vector_normal_distribution(x, below, density);
}
LOCKSTEP_ALWAYS_INLINE void take_normal_distribution(const sixteen_floats& x, sixteen_floats& below,
                                                     sixteen_floats& density) {
  vector_normal_distribution(x, below, density);
}

}  // namespace lockstep::detail
