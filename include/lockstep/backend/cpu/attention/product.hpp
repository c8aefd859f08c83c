// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <cstdint>

#include <lockstep/backend/cpu/array.hpp>
#include <lockstep/backend/cpu/simd.hpp>
#include <lockstep/backend/cpu/tiles.hpp>
#include <lockstep/core/config.hpp>

namespace lockstep::cpu_backend::flash {

/// out[i][c] (+)= sum over k of a[i * a_row + k * a_step] b[k][c], with rows of `width` elements in b and out: a
/// multiple of two vectors.
struct product {
  std::int64_t rows, depth, width;
  const float* a;
  std::int64_t a_row, a_step;
  const float* b;
  float* out;
  bool adds;
};

/// All products of attention are of this form, and share its code.
struct product_kernel {
  template <class V>
  static LOCKSTEP_ALWAYS_INLINE void run(const product* of) {
    const product p = *of;
    // With 8 lanes, the sums, two vectors of b and a broadcast of a fit 16 registers.
    constexpr int most = lanes<V> == 16 ? 8 : 6;
    // Heights differ by at most one, see each_height.
    const std::int64_t tiles = (p.rows + most - 1) / most;
    for (std::int64_t c = 0; c < p.width; c += 2 * lanes<V>)
      for (std::int64_t tile = 0, first = 0; tile < tiles; ++tile) {
        const std::int64_t height = (p.rows - first) / (tiles - tile);
        of_height<V, most>(p, first, height, c);
        first += height;
      }
  }

 private:
  template <class V, int Height>
  static LOCKSTEP_ALWAYS_INLINE void of_height(const product& p, std::int64_t first, std::int64_t height,
                                               std::int64_t c) {
    if (height == Height)
      tile<V, Height>(p, p.a + first * p.a_row, p.out + first * p.width + c, c);
    else if constexpr (Height > 1)
      of_height<V, Height - 1>(p, first, height, c);
  }

  template <class V, int Rows>
  static LOCKSTEP_ALWAYS_INLINE void tile(const product& p, const float* LOCKSTEP_RESTRICT a,
                                          float* LOCKSTEP_RESTRICT out, std::int64_t c) {
    matrix_of<V, Rows, 2> sum = {};
    if (p.adds)
#pragma GCC unroll 8
      for (int r = 0; r < Rows; ++r)
#pragma GCC unroll 2
        for (int v = 0; v < 2; ++v) load(sum[r][v], out + r * p.width + lanes<V> * v);
    multiply_add<V, Rows, 2>(p.depth, a, p.a_row, p.a_step, p.b + c, p.width, lanes<V>, sum);
#pragma GCC unroll 8
    for (int r = 0; r < Rows; ++r)
#pragma GCC unroll 2
      for (int v = 0; v < 2; ++v) store(out + r * p.width + lanes<V> * v, sum[r][v]);
  }
};

template <class V>
void multiply(const product& p) {
  run_for<V, product_kernel>(&p);
}

}  // namespace lockstep::cpu_backend::flash
