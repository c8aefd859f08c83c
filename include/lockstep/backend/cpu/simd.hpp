// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <cstdint>

#include <lockstep/core/config.hpp>

/// \file
/// Eight floats in a register, for functions marked LOCKSTEP_TARGET_AVX2. GCC and Clang vector extensions: the
/// arithmetic operators work, and a program built for the x86-64 baseline still holds these functions.

namespace lockstep::cpu_backend {

/// True when the machine runs AVX2 and FMA.
[[nodiscard]] inline bool has_avx2() noexcept {
#if LOCKSTEP_X86_64()
  static const bool yes = __builtin_cpu_supports("avx2") != 0 && __builtin_cpu_supports("fma") != 0;
  return yes;
#else
  return false;
#endif
}

#if LOCKSTEP_X86_64()

using float8 = float __attribute__((vector_size(32)));

LOCKSTEP_TARGET_AVX2 LOCKSTEP_ALWAYS_INLINE float8 load8(const float* from) {
  float8 value;
  __builtin_memcpy(&value, from, sizeof value);
  return value;
}

LOCKSTEP_TARGET_AVX2 LOCKSTEP_ALWAYS_INLINE void store8(float* to, float8 value) {
  __builtin_memcpy(to, &value, sizeof value);
}

LOCKSTEP_TARGET_AVX2 LOCKSTEP_ALWAYS_INLINE float8 broadcast8(float v) { return float8{v, v, v, v, v, v, v, v}; }

/// max(0, v); NaN stays NaN. Selections stand in functions of their own: nvcc's front end fails on them in templates.
LOCKSTEP_TARGET_AVX2 LOCKSTEP_ALWAYS_INLINE float8 relu8(float8 v) { return v < float8{} ? float8{} : v; }

/// 0 where y <= 0, else dy: what passes back through a relu whose output is y.
LOCKSTEP_TARGET_AVX2 LOCKSTEP_ALWAYS_INLINE float8 masked8(float8 y, float8 dy) {
  return y <= float8{} ? float8{} : dy;
}

/// Sum of the eight lanes, always in the same order.
LOCKSTEP_TARGET_AVX2 LOCKSTEP_ALWAYS_INLINE float sum8(float8 v) {
  return ((v[0] + v[4]) + (v[2] + v[6])) + ((v[1] + v[5]) + (v[3] + v[7]));
}

#endif

}  // namespace lockstep::cpu_backend
