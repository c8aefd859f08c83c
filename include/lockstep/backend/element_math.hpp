// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <cmath>

#include <lockstep/core/config.hpp>

/// \file
/// What a rule for elements needs beside + - * /, for a number and for a vector of floats in a register. No compiler
/// makes vectors of std::sqrt, which has to set errno; so the CPU backend hands vectors to the rules that take them.
/// All is done in place, because how vectors are returned depends on the instructions that a function may use.

namespace lockstep::detail {

using eight_floats = float __attribute__((vector_size(32)));
using sixteen_floats = float __attribute__((vector_size(64)));

/// x = its square root, correctly rounded.
template <class T>
LOCKSTEP_HOST_DEVICE LOCKSTEP_ALWAYS_INLINE void take_root(T& x) {
  x = std::sqrt(x);
}
/// x = the larger of x and y; y when either is NaN.
template <class T>
LOCKSTEP_HOST_DEVICE LOCKSTEP_ALWAYS_INLINE void take_larger(T& x, const T& y) {
  x = x > y ? x : y;
}
/// x = |x|; a NaN stays one.
template <class T>
LOCKSTEP_HOST_DEVICE LOCKSTEP_ALWAYS_INLINE void take_magnitude(T& x) {
  x = x < T{0} ? -x : x;
}
/// x = the smaller of x and limit; limit when x is NaN.
template <class T>
LOCKSTEP_HOST_DEVICE LOCKSTEP_ALWAYS_INLINE void take_at_most(T& x, const T& limit) {
  x = x < limit ? x : limit;
}
/// x = the larger of x and limit; limit when x is NaN.
template <class T>
LOCKSTEP_HOST_DEVICE LOCKSTEP_ALWAYS_INLINE void take_at_least(T& x, const T& limit) {
  x = x > limit ? x : limit;
}
/// Swaps a and b where x < 0.
template <class T>
LOCKSTEP_HOST_DEVICE LOCKSTEP_ALWAYS_INLINE void swap_where_negative(const T& x, T& a, T& b) {
  const T first = x < T{0} ? b : a;
  b = x < T{0} ? a : b;
  a = first;
}
/// x = 1, 0 or -1, as torch.sign; 0 for a NaN.
template <class T>
LOCKSTEP_HOST_DEVICE LOCKSTEP_ALWAYS_INLINE void take_sign(T& x) {
  x = static_cast<T>(x > T{0} ? 1 : 0) - static_cast<T>(x < T{0} ? 1 : 0);
}
/// x = what is nearest to it in [-limit, limit]; a NaN stays one.
template <class T>
LOCKSTEP_HOST_DEVICE LOCKSTEP_ALWAYS_INLINE void clip(T& x, const T& limit) {
  x = x < -limit ? -limit : x > limit ? limit : x;
}
/// Rounds the product x before it goes into a sum with another product: a compiler that fuses one of the two into the
/// sum has no choice which.
template <class T>
LOCKSTEP_HOST_DEVICE LOCKSTEP_ALWAYS_INLINE void round_first(T&) {}

// Not templates: nvcc's front end fails on selections between vectors in templates. Limits are parameters, since it
// also fails on a constant less a vector.

#if LOCKSTEP_GCC_ON_X86_64()
LOCKSTEP_ALWAYS_INLINE void take_root(eight_floats& x) { asm("vsqrtps %0, %0" : "+v"(x)); }
LOCKSTEP_ALWAYS_INLINE void take_root(sixteen_floats& x) { asm("vsqrtps %0, %0" : "+v"(x)); }
#elif LOCKSTEP_X86_64()
// Clang takes no long vector as a register of an asm in a function that is not yet inlined into one for AVX.
LOCKSTEP_ALWAYS_INLINE void take_root(eight_floats& x) {
  asm("vsqrtps %1, %%ymm0\n\tvmovups %%ymm0, %0" : "=m"(x) : "m"(x) : "xmm0");
}
LOCKSTEP_ALWAYS_INLINE void take_root(sixteen_floats& x) {
  asm("vsqrtps %1, %%zmm0\n\tvmovups %%zmm0, %0" : "=m"(x) : "m"(x) : "xmm0");
}
#endif

LOCKSTEP_ALWAYS_INLINE void take_larger(eight_floats& x, const eight_floats& y) { x = x > y ? x : y; }
LOCKSTEP_ALWAYS_INLINE void take_larger(sixteen_floats& x, const sixteen_floats& y) { x = x > y ? x : y; }

LOCKSTEP_ALWAYS_INLINE void take_magnitude(eight_floats& x) { x = x < eight_floats{} ? -x : x; }
LOCKSTEP_ALWAYS_INLINE void take_magnitude(sixteen_floats& x) { x = x < sixteen_floats{} ? -x : x; }

LOCKSTEP_ALWAYS_INLINE void take_at_most(eight_floats& x, const float& limit) {
  const eight_floats most = limit - eight_floats{};
  x = x < most ? x : most;
}
LOCKSTEP_ALWAYS_INLINE void take_at_most(sixteen_floats& x, const float& limit) {
  const sixteen_floats most = limit - sixteen_floats{};
  x = x < most ? x : most;
}

LOCKSTEP_ALWAYS_INLINE void take_at_least(eight_floats& x, const float& limit) {
  const eight_floats least = limit - eight_floats{};
  x = x > least ? x : least;
}
LOCKSTEP_ALWAYS_INLINE void take_at_least(sixteen_floats& x, const float& limit) {
  const sixteen_floats least = limit - sixteen_floats{};
  x = x > least ? x : least;
}

/// x = the larger of x and limit; a NaN stays one.
LOCKSTEP_ALWAYS_INLINE void raise_to(eight_floats& x, const float& limit) {
  const eight_floats least = limit - eight_floats{};
  x = least > x ? least : x;
}
LOCKSTEP_ALWAYS_INLINE void raise_to(sixteen_floats& x, const float& limit) {
  const sixteen_floats least = limit - sixteen_floats{};
  x = least > x ? least : x;
}

LOCKSTEP_ALWAYS_INLINE void swap_where_negative(const eight_floats& x, eight_floats& a, eight_floats& b) {
  const eight_floats first = x < eight_floats{} ? b : a;
  b = x < eight_floats{} ? a : b;
  a = first;
}
LOCKSTEP_ALWAYS_INLINE void swap_where_negative(const sixteen_floats& x, sixteen_floats& a, sixteen_floats& b) {
  const sixteen_floats first = x < sixteen_floats{} ? b : a;
  b = x < sixteen_floats{} ? a : b;
  a = first;
}

LOCKSTEP_ALWAYS_INLINE void take_sign(eight_floats& x) {
  const eight_floats zero{};
  const eight_floats one = 1.F - zero;
  x = (x > zero ? one : zero) - (x < zero ? one : zero);
}
LOCKSTEP_ALWAYS_INLINE void take_sign(sixteen_floats& x) {
  const sixteen_floats zero{};
  const sixteen_floats one = 1.F - zero;
  x = (x > zero ? one : zero) - (x < zero ? one : zero);
}

LOCKSTEP_ALWAYS_INLINE void clip(eight_floats& x, const float& limit) {
  const eight_floats most = limit - eight_floats{};
  x = x < -most ? -most : x;
  x = x > most ? most : x;
}
LOCKSTEP_ALWAYS_INLINE void clip(sixteen_floats& x, const float& limit) {
  const sixteen_floats most = limit - sixteen_floats{};
  x = x < -most ? -most : x;
  x = x > most ? most : x;
}

LOCKSTEP_ALWAYS_INLINE void round_first(eight_floats& x) { LOCKSTEP_IN_REGISTER(x); }
LOCKSTEP_ALWAYS_INLINE void round_first(sixteen_floats& x) { LOCKSTEP_IN_REGISTER(x); }

}  // namespace lockstep::detail
