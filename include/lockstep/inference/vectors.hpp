// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <lockstep/core/config.hpp>

#include <cstdint>

#include <lockstep/backend/cpu/array.hpp>
#include <lockstep/backend/cpu/simd.hpp>

/// \file
/// The vectors that a prediction computes in: those of backend/cpu/simd.hpp, and one of four floats for processors with
/// neither AVX-512 nor AVX2, which every compiler has instructions for.

namespace lockstep::detail::infer {

using cpu_backend::array_of;
using cpu_backend::float_x16;
using cpu_backend::float_x8;
using cpu_backend::lanes;
using cpu_backend::load;
using cpu_backend::matrix_of;
using cpu_backend::store;
using float_x4 = float __attribute__((vector_size(16)));

/// The least multiple of `unit` that is not below n.
[[nodiscard]] constexpr std::int64_t round_up(std::int64_t n, std::int64_t unit) {
  return (n + unit - 1) / unit * unit;
}

/// v = x in every lane.
template <class V>
LOCKSTEP_ALWAYS_INLINE void spread(V& v, const float& x) {
  if constexpr (lanes<V> == 4)
    v = x - V{};
  else
    cpu_backend::broadcast(v, x);
}

// Functions with selections are not templates, as in simd.hpp.

/// v = max(0, v); NaN stays NaN.
LOCKSTEP_ALWAYS_INLINE void rectify(float_x4& v) { v = v < float_x4{} ? float_x4{} : v; }
LOCKSTEP_ALWAYS_INLINE void rectify(float_x8& v) { v = v < float_x8{} ? float_x8{} : v; }
LOCKSTEP_ALWAYS_INLINE void rectify(float_x16& v) { v = v < float_x16{} ? float_x16{} : v; }
LOCKSTEP_ALWAYS_INLINE void rectify(float& v) { v = v < 0.F ? 0.F : v; }

/// best = the larger of the two; a NaN wins, as in PyTorch's pooling. In two steps, since g++ takes a wide
/// vector apart where it joins two comparisons.
LOCKSTEP_ALWAYS_INLINE void take_larger_or_nan(float_x4& best, const float_x4& v) {
  best = v > best ? v : best;
  LOCKSTEP_IN_REGISTER(best);
  best = v != v ? v : best;
}
LOCKSTEP_ALWAYS_INLINE void take_larger_or_nan(float_x8& best, const float_x8& v) {
  best = v > best ? v : best;
  LOCKSTEP_IN_REGISTER(best);
  best = v != v ? v : best;
}
LOCKSTEP_ALWAYS_INLINE void take_larger_or_nan(float_x16& best, const float_x16& v) {
  best = v > best ? v : best;
  LOCKSTEP_IN_REGISTER(best);
  best = v != v ? v : best;
}
LOCKSTEP_ALWAYS_INLINE void take_larger_or_nan(float& best, const float& v) { best = v > best || v != v ? v : best; }

/// Sum of the lanes, always in the same order.
LOCKSTEP_ALWAYS_INLINE float sum_lanes(const float_x4& v) { return (v[0] + v[2]) + (v[1] + v[3]); }
LOCKSTEP_ALWAYS_INLINE float sum_lanes(const float_x8& v) { return cpu_backend::sum_lanes(v); }
LOCKSTEP_ALWAYS_INLINE float sum_lanes(const float_x16& v) { return cpu_backend::sum_lanes(v); }

/// even = the elements 0, 2, 4, ... of a and b one after the other, odd = the elements 1, 3, 5, ...
LOCKSTEP_ALWAYS_INLINE void part_pairs(const float_x4& a, const float_x4& b, float_x4& even, float_x4& odd) {
  even = __builtin_shufflevector(a, b, 0, 2, 4, 6);
  odd = __builtin_shufflevector(a, b, 1, 3, 5, 7);
}
LOCKSTEP_ALWAYS_INLINE void part_pairs(const float_x8& a, const float_x8& b, float_x8& even, float_x8& odd) {
  even = __builtin_shufflevector(a, b, 0, 2, 4, 6, 8, 10, 12, 14);
  odd = __builtin_shufflevector(a, b, 1, 3, 5, 7, 9, 11, 13, 15);
}
LOCKSTEP_ALWAYS_INLINE void part_pairs(const float_x16& a, const float_x16& b, float_x16& even, float_x16& odd) {
  even = __builtin_shufflevector(a, b, 0, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22, 24, 26, 28, 30);
  odd = __builtin_shufflevector(a, b, 1, 3, 5, 7, 9, 11, 13, 15, 17, 19, 21, 23, 25, 27, 29, 31);
}

template <class Kernel, class... Arguments>
[[gnu::noinline]] LOCKSTEP_TARGET_AVX512 void run_apart_avx512(Arguments... arguments) {
  Kernel::template run<float_x16>(arguments...);
}
template <class Kernel, class... Arguments>
[[gnu::noinline]] LOCKSTEP_TARGET_AVX2 void run_apart_avx2(Arguments... arguments) {
  Kernel::template run<float_x8>(arguments...);
}
template <class Kernel, class... Arguments>
[[gnu::noinline]] void run_apart_anywhere(Arguments... arguments) {
  Kernel::template run<float_x4>(arguments...);
}

/// Calls Kernel::run<V>(arguments...) as a function of its own, for machines that have V.
template <class V, class Kernel, class... Arguments>
LOCKSTEP_ALWAYS_INLINE void run_apart(Arguments... arguments) {
  if constexpr (lanes<V> == 16)
    run_apart_avx512<Kernel>(arguments...);
  else if constexpr (lanes<V> == 8)
    run_apart_avx2<Kernel>(arguments...);
  else
    run_apart_anywhere<Kernel>(arguments...);
}

}  // namespace lockstep::detail::infer
