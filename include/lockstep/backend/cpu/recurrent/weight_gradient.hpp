// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <algorithm>
#include <cstdint>

#include <lockstep/backend/cpu/array.hpp>
#include <lockstep/backend/cpu/recurrent/panels.hpp>
#include <lockstep/backend/cpu/simd.hpp>
#include <lockstep/backend/cpu/tiles.hpp>
#include <lockstep/backend/cpu/transpose.hpp>
#include <lockstep/core/config.hpp>

/// \file
/// The gradient of a weight over all steps of all samples: many thousand rows, block by block, so that a block stays in
/// the second-level cache. oneDNN 2.6 takes more than twice the time for this product.

namespace lockstep::cpu_backend::recurrence {

/// A product of `n` rows: dw (rows x columns) (+)= gates^T values.
struct gradient_product {
  std::int64_t rows;
  std::int64_t columns;
  std::int64_t n;
  std::int64_t gate_row;  ///< from one row of gates to the next
  const float* gates;
  const float* values;
  float* dw;
  bool accumulate;
};

/// Rows of a block: 128 KB of values.
[[nodiscard]] constexpr std::int64_t gradient_block(std::int64_t columns) {
  return (std::clamp)(std::int64_t{32768} / (columns + 16), std::int64_t{32}, std::int64_t{256});
}
/// Floats of scratch: the sums, a block of values, and a panel of gates.
[[nodiscard]] constexpr std::int64_t gradient_scratch(std::int64_t rows, std::int64_t columns) {
  return padded(rows, widest) * columns + gradient_block(columns) * (columns + 16 + widest);
}

/// `tiles` tiles of `Rows` columns of the values: sums (+)= values^T gates, where the gates are a packed panel.
template <int Rows>
struct gradient_tiles {
  template <class V>
  static LOCKSTEP_ALWAYS_INLINE void run(std::int64_t n, std::int64_t tiles, const float* LOCKSTEP_RESTRICT values,
                                         std::int64_t value_row, const float* LOCKSTEP_RESTRICT gates,
                                         float* LOCKSTEP_RESTRICT sums, bool add) {
    constexpr std::int64_t width = product_vectors * lanes<V>;
    for (; tiles > 0; --tiles, values += Rows, sums += Rows * width) {
      matrix_of<V, Rows, product_vectors> sum = {};
      multiply_add<V, Rows, product_vectors>(n, values, 1, value_row, gates, width, lanes<V>, sum);
#pragma GCC unroll 8
      for (int r = 0; r < Rows; ++r)
#pragma GCC unroll 2
        for (int v = 0; v < product_vectors; ++v) {
          float* const to = sums + r * width + v * lanes<V>;
          if (add) add_from(sum[r][v], to);
          store(to, sum[r][v]);
        }
    }
  }
};

/// dw (+)= sums, which lie in panels: columns x width.
struct unpack_gradient {
  template <class V>
  static LOCKSTEP_ALWAYS_INLINE void run(const gradient_product& p, const float* LOCKSTEP_RESTRICT sums) {
    constexpr std::int64_t width = product_vectors * lanes<V>;
    for (std::int64_t o = 0; o < p.rows; o += 8) {
      const float* const from = sums + o / width * width * p.columns + o % width;
      float* const to = p.dw + o * p.columns;
      const std::int64_t count = (std::min)(std::int64_t{8}, p.rows - o);
      std::int64_t i = 0;
      for (; i + 8 <= p.columns; i += 8) {
        float block[64];
        transpose8(from + i * width, width, block, 8);
        for (std::int64_t r = 0; r < count; ++r) {
          float_x8 sum;
          load(sum, block + 8 * r);
          if (p.accumulate) add_from(sum, to + r * p.columns + i);
          store(to + r * p.columns + i, sum);
        }
      }
      for (; i < p.columns; ++i)
        for (std::int64_t r = 0; r < count; ++r) {
          float& place = to[r * p.columns + i];
          place = p.accumulate ? place + from[i * width + r] : from[i * width + r];
        }
    }
  }
};

/// The sum over all rows is complete before it is added to older values. Cost: 2 n rows columns flops.
template <class V>
void weight_gradient(const gradient_product& p, float* scratch) {
  constexpr std::int64_t width = product_vectors * lanes<V>;
  constexpr int most_rows = lanes<V> == 16 ? 8 : 6;
  const std::int64_t most = gradient_block(p.columns);
  // Rows that lie a power of two apart compete for the same cache sets: copy them further apart.
  const std::int64_t value_row = p.columns + 16;
  float* const sums = scratch;
  float* const values = sums + padded(p.rows, widest) * p.columns;
  float* const gates = values + most * value_row;
  if (p.n == 0) std::fill(sums, values, 0.F);
  for (std::int64_t first = 0; first < p.n; first += most) {
    const std::int64_t n = (std::min)(most, p.n - first);
    for (std::int64_t r = 0; r < n; ++r)
      std::copy_n(p.values + (first + r) * p.columns, p.columns, values + r * value_row);
    for (std::int64_t o = 0; o < p.rows; o += width) {
      const std::int64_t count = (std::min)(width, p.rows - o);
      const float* from = p.gates + first * p.gate_row + o;
      for (std::int64_t r = 0; r < n; ++r, from += p.gate_row) {
        if (count == width) {
          std::copy_n(from, width, gates + r * width);
        } else {
          std::copy_n(from, count, gates + r * width);
          std::fill_n(gates + r * width + count, width - count, 0.F);
        }
      }
      each_height<most_rows>(p.columns, [&](auto rows, std::int64_t i, std::int64_t tiles) {
        run_for<V, gradient_tiles<rows>>(n, tiles, values + i, value_row, gates, sums + o * p.columns + i * width,
                                         first > 0);
      });
    }
  }
  run_for<V, unpack_gradient>(p, sums);
}

}  // namespace lockstep::cpu_backend::recurrence
