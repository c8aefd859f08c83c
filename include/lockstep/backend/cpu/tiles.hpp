// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <cstdint>
#include <type_traits>
#include <utility>

#include <lockstep/backend/cpu/array.hpp>
#include <lockstep/backend/cpu/simd.hpp>

namespace lockstep::cpu_backend {

/// Covers [0, count) with tiles of height at most `Most`, and calls f(height, first, tiles) for each run of equal
/// tiles. Heights differ by at most one: a low tile would wait for its own sums. `height` is an integral_constant.
template <int Most, class F>
void each_height(std::int64_t count, const F& f) {
  const auto run = [&](std::int64_t height, std::int64_t first, std::int64_t tiles) {
    [&]<int... Less>(std::integer_sequence<int, Less...>) {
      static_cast<void>(
          ((height == Less + 1 && (f(std::integral_constant<int, Less + 1>{}, first, tiles), true)) || ...));
    }(std::make_integer_sequence<int, Most>{});
  };
  if (count == 0) return;
  const std::int64_t tiles = (count + Most - 1) / Most;
  const std::int64_t height = count / tiles;
  const std::int64_t taller = count % tiles;
  if (taller > 0) run(height + 1, 0, taller);
  run(height, taller * (height + 1), tiles - taller);
}

/// Prefetches the cache lines of [from, from + count) into the second-level cache.
LOCKSTEP_ALWAYS_INLINE void prefetch(const float* from, std::int64_t count) {
  for (std::int64_t i = 0; i < count; i += 16) __builtin_prefetch(from + i, 0, 2);
}

/// sum[r][v][:] += sum over k of a[r * a_row + k * a_step] * (vector v of row k of b), where vectors of a row lie
/// `b_vector` apart: the inner loop of every matrix product, whose sums must fit in registers.
template <class V, int Rows, int Vectors>
LOCKSTEP_ALWAYS_INLINE void multiply_add(std::int64_t depth, const float* LOCKSTEP_RESTRICT a, std::int64_t a_row,
                                         std::int64_t a_step, const float* LOCKSTEP_RESTRICT b, std::int64_t b_row,
                                         std::int64_t b_vector, matrix_of<V, Rows, Vectors>& sum) {
#pragma GCC unroll 4
  for (const float* end = b + depth * b_row; b != end; b += b_row, a += a_step) {
    array_of<V, Vectors> columns;
#pragma GCC unroll 2
    for (int v = 0; v < Vectors; ++v) {
      load(columns[v], b + v * b_vector);
      LOCKSTEP_IN_REGISTER(columns[v]);
    }
#pragma GCC unroll 12
    for (int r = 0; r < Rows; ++r) {
      V value;
      broadcast(value, a[r * a_row]);
#pragma GCC unroll 2
      for (int v = 0; v < Vectors; ++v) sum[r][v] += value * columns[v];
    }
  }
}

}  // namespace lockstep::cpu_backend
