// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <cstdint>

#include <lockstep/backend/cpu/simd.hpp>
#include <lockstep/core/config.hpp>

namespace lockstep::cpu_backend {

/// to[k][j] = from[j][k] for 8 x 8 values; rows are `from_row` and `to_row` apart.
LOCKSTEP_ALWAYS_INLINE void transpose8(const float* from, std::int64_t from_row, float* to, std::int64_t to_row) {
  float_x8 a[8], b[8];
#pragma GCC unroll 8
  for (int j = 0; j < 8; ++j) load(a[j], from + j * from_row);
#pragma GCC unroll 4
  for (int j = 0; j < 8; j += 2) {
    b[j] = __builtin_shufflevector(a[j], a[j + 1], 0, 8, 1, 9, 4, 12, 5, 13);
    b[j + 1] = __builtin_shufflevector(a[j], a[j + 1], 2, 10, 3, 11, 6, 14, 7, 15);
  }
#pragma GCC unroll 2
  for (int j = 0; j < 8; j += 4)
#pragma GCC unroll 2
    for (int h = 0; h < 2; ++h) {
      a[j + 2 * h] = __builtin_shufflevector(b[j + h], b[j + h + 2], 0, 1, 8, 9, 4, 5, 12, 13);
      a[j + 2 * h + 1] = __builtin_shufflevector(b[j + h], b[j + h + 2], 2, 3, 10, 11, 6, 7, 14, 15);
    }
#pragma GCC unroll 4
  for (int k = 0; k < 4; ++k) {
    store(to + k * to_row, __builtin_shufflevector(a[k], a[k + 4], 0, 1, 2, 3, 8, 9, 10, 11));
    store(to + (k + 4) * to_row, __builtin_shufflevector(a[k], a[k + 4], 4, 5, 6, 7, 12, 13, 14, 15));
  }
}

}  // namespace lockstep::cpu_backend
