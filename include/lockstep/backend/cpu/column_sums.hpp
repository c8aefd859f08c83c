// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <algorithm>
#include <cstdint>
#include <type_traits>

#include <lockstep/backend/cpu/simd.hpp>
#include <lockstep/core/config.hpp>

namespace lockstep::cpu_backend {

/// sums[k] (+)= the sum of column k over `rows` contiguous rows. Four independent sums run at a time, over neighbouring
/// columns or over every fourth row, so that additions do not wait for each other.
struct column_sums_kernel {
  template <class V, class A>
  static LOCKSTEP_ALWAYS_INLINE void run(std::int64_t rows, std::int64_t columns, const A* LOCKSTEP_RESTRICT x,
                                         float* LOCKSTEP_RESTRICT sums, bool accumulate) {
    std::int64_t k = 0;
    for (; k + 4 * lanes<V> <= columns; k += 4 * lanes<V>) {
      V sum[4] = {};
      const A* from = x + k;
      for (std::int64_t r = 0; r < rows; ++r, from += columns)
#pragma GCC unroll 4
        for (int v = 0; v < 4; ++v) add_from(sum[v], from + lanes<V> * v);
#pragma GCC unroll 4
      for (int v = 0; v < 4; ++v) {
        if (accumulate) add_from(sum[v], sums + k + lanes<V> * v);
        store(sums + k + lanes<V> * v, sum[v]);
      }
    }
    for (; k + lanes<V> <= columns; k += lanes<V>) {
      V sum[4] = {};
      const A* from = x + k;
      std::int64_t r = 0;
      for (; r + 4 <= rows; r += 4)
#pragma GCC unroll 4
        for (int v = 0; v < 4; ++v, from += columns) add_from(sum[v], from);
      for (; r < rows; ++r, from += columns) add_from(sum[0], from);
      sum[0] = (sum[0] + sum[2]) + (sum[1] + sum[3]);
      if (accumulate) add_from(sum[0], sums + k);
      store(sums + k, sum[0]);
    }
    for (; k < columns; ++k) {
      float sum[4] = {};
      const A* from = x + k;
      std::int64_t r = 0;
      for (; r + 4 <= rows; r += 4)
#pragma GCC unroll 4
        for (int v = 0; v < 4; ++v, from += columns) sum[v] += *from;
      for (; r < rows; ++r, from += columns) sum[0] += *from;
      sum[0] = (sum[0] + sum[2]) + (sum[1] + sum[3]);
      sums[k] = accumulate ? sums[k] + sum[0] : sum[0];
    }
  }
};

/// Number of rows that are summed before their sum is added to the sums of other rows.
inline constexpr std::int64_t column_sums_piece = 512;

/// sums[k] = the sum of column k of x (rows x columns). Each piece of rows is summed first, then the pieces' sums are
/// added, so that rounding errors grow with the number of pieces, not of rows. Cost: one pass over x.
/// Adds to what `sums` holds when `accumulate`.
inline void column_sums(std::int64_t rows, std::int64_t columns, const float* x, float* sums, bool accumulate = false) {
  for (std::int64_t first = 0; first < rows; first += column_sums_piece) {
    const std::int64_t count = (std::min)(column_sums_piece, rows - first);
    const float* from = x + first * columns;
    if (has_avx2())
      with_widest([&]<class V>(std::type_identity<V>) {
        run_for<V, column_sums_kernel>(count, columns, from, sums, accumulate || first > 0);
      });
    else
      column_sums_kernel::run<float_x8>(count, columns, from, sums, accumulate || first > 0);
  }
}

}  // namespace lockstep::cpu_backend
