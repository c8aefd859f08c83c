// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <cstddef>
#include <cstdint>
#include <type_traits>

#include <lockstep/core/config.hpp>

/// \file
/// Vectors of floats in registers, by the vector extensions of GCC and Clang: the arithmetic operators work.
///
/// A kernel is a class with a static `run`, a template over its vector V, so that one source serves every width. An
/// attribute says which instructions a function may use, and cannot depend on a template parameter. So only the
/// functions that `run_for<V>` calls have this attribute. All code of a kernel that uses vectors is
/// LOCKSTEP_ALWAYS_INLINE and thus built into them. Vectors are passed by reference: how they pass by value depends on
/// the instructions.

namespace lockstep::cpu_backend {

using float_x8 = float __attribute__((vector_size(32)));
using float_x16 = float __attribute__((vector_size(64)));

/// Number of floats in a V.
template <class V>
inline constexpr std::int64_t lanes = sizeof(V) / sizeof(float);

/// True when the machine has registers for V: AVX2 with FMA for float_x8, AVX-512 for float_x16.
template <class V>
[[nodiscard]] bool has() noexcept {
#if LOCKSTEP_X86_64()
  if (lanes<V> == 16 && !LOCKSTEP_MAY_USE_AVX512()) return false;
  static const bool yes = lanes<V> == 16
                              ? __builtin_cpu_supports("avx512f") != 0 && __builtin_cpu_supports("avx512vl") != 0
                              : __builtin_cpu_supports("avx2") != 0 && __builtin_cpu_supports("fma") != 0;
  return yes;
#else
  return false;
#endif
}

/// True when the machine can run the vector kernels.
[[nodiscard]] inline bool has_avx2() noexcept { return has<float_x8>(); }

/// Calls f(std::type_identity<V>{}) for the widest V that the machine has. The machine must have float_x8.
template <class F>
void with_widest(const F& f) {
  if (has<float_x16>()) return f(std::type_identity<float_x16>{});
  f(std::type_identity<float_x8>{});
}

template <class Kernel, class... Arguments>
LOCKSTEP_TARGET_AVX2 void run_for_avx2(Arguments... arguments) {
  Kernel::template run<float_x8>(arguments...);
}

template <class Kernel, class... Arguments>
LOCKSTEP_TARGET_AVX512 void run_for_avx512(Arguments... arguments) {
  Kernel::template run<float_x16>(arguments...);
}

/// Calls Kernel::run<V>(arguments...), compiled for machines that have V.
template <class V, class Kernel, class... Arguments>
void run_for(Arguments... arguments) {
  if constexpr (std::is_same_v<V, float_x16>)
    run_for_avx512<Kernel>(arguments...);
  else
    run_for_avx2<Kernel>(arguments...);
}

template <class V>
LOCKSTEP_ALWAYS_INLINE void load(V& v, const float* from) {
  __builtin_memcpy(&v, from, sizeof v);
}

template <class V>
LOCKSTEP_ALWAYS_INLINE void store(float* to, const V& v) {
  __builtin_memcpy(to, &v, sizeof v);
}

/// v = x in every lane.
template <class V>
LOCKSTEP_ALWAYS_INLINE void broadcast(V& v, const float& x) {
#if LOCKSTEP_GCC_ON_X86_64()
  // g++ fills wide vectors lane by lane where it has unrolled a loop around this.
  asm("vbroadcastss %1, %0" : "=v"(v) : "m"(x));
#else
  v = x - V{};
#endif
}

/// The first `count` floats at `from`, or as many as fill v; the other lanes are `rest`.
template <class V>
LOCKSTEP_ALWAYS_INLINE void load_first(V& v, const float* from, std::int64_t count, const float& rest = 0) {
  if (count >= lanes<V>) return load(v, from);
  V part = rest - V{};  // not v, which would then be kept in memory; not `broadcast`, which wants AVX
  __builtin_memcpy(&part, from, static_cast<std::size_t>(count) * sizeof(float));
  v = part;
}

template <class V>
LOCKSTEP_ALWAYS_INLINE void store_first(float* to, const V& v, std::int64_t count) {
  if (count >= lanes<V>) return store(to, v);
  const V part = v;
  __builtin_memcpy(to, &part, static_cast<std::size_t>(count) * sizeof(float));
}

/// to += the vector at `from`.
template <class V>
LOCKSTEP_ALWAYS_INLINE void add_from(V& to, const float* from) {
  V v;
  load(v, from);
  to += v;
}

// Functions with selections are not templates: nvcc's front end fails on selections in templates.

/// v = max(0, v); NaN stays NaN.
LOCKSTEP_ALWAYS_INLINE void relu(float_x8& v) { v = v < float_x8{} ? float_x8{} : v; }
LOCKSTEP_ALWAYS_INLINE void relu(float_x16& v) { v = v < float_x16{} ? float_x16{} : v; }

/// dy = 0 where y <= 0: the gradient that passes back through a relu whose output is y.
LOCKSTEP_ALWAYS_INLINE void mask(const float_x8& y, float_x8& dy) { dy = y <= float_x8{} ? float_x8{} : dy; }
LOCKSTEP_ALWAYS_INLINE void mask(const float_x16& y, float_x16& dy) { dy = y <= float_x16{} ? float_x16{} : dy; }

/// Sum of the lanes, always in the same order.
LOCKSTEP_ALWAYS_INLINE float sum_lanes(const float_x8& v) {
  return ((v[0] + v[4]) + (v[2] + v[6])) + ((v[1] + v[5]) + (v[3] + v[7]));
}
LOCKSTEP_ALWAYS_INLINE float sum_lanes(const float_x16& v) {
  return sum_lanes(__builtin_shufflevector(v, v, 0, 1, 2, 3, 4, 5, 6, 7) +
                   __builtin_shufflevector(v, v, 8, 9, 10, 11, 12, 13, 14, 15));
}

}  // namespace lockstep::cpu_backend
