// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <lockstep/core/config.hpp>

#include <cstdint>

#include <lockstep/backend/cpu/array.hpp>
#include <lockstep/backend/cpu/simd.hpp>
#include <lockstep/backend/cpu/winograd/tile_grid.hpp>

/// \file
/// The kernels that transform tiles of pictures to values at points, and back.

namespace lockstep::cpu_backend::winograd {

/// Most tiles of a group: the rows of a register tile of the products.
template <class V>
inline constexpr std::int64_t group_rows = lanes<V> == 16 ? 12 : 6;

/// Elements from a point's matrix of `size` elements to the next one's: another cache line, so that equal places at all
/// points do not compete for the same sets of the cache.
[[nodiscard]] constexpr std::int64_t point_step(std::int64_t size) { return size + 16; }

/// Transformed tiles: groups lie one after the other, in each its points, and in each point its tiles' rows.
struct point_rows {
  float* values;
  std::int64_t row;  ///< elements from a tile's row to the next

  /// Elements from a tile's row to its row at the next point.
  template <class V>
  [[nodiscard]] LOCKSTEP_ALWAYS_INLINE std::int64_t step() const {
    return point_step(group_rows<V> * row);
  }
  /// The row of tile t at the first point.
  template <class V, int Side>
  [[nodiscard]] LOCKSTEP_ALWAYS_INLINE float* row_of(std::int64_t t) const {
    constexpr std::int64_t rows = group_rows<V>;
    return values + t / rows * Side * Side * step<V>() + t % rows * row;
  }
};

/// Which tiles of all pictures' tiles a kernel works on.
struct tile_range {
  std::int64_t first, count;
};

/// Transforms the inputs of some tiles: `channels` channels from x on. `zeros` has as many zeros.
template <class F>
struct transform_inputs {
  template <class V>
  static LOCKSTEP_ALWAYS_INLINE void run(const tile_grid* grid, tile_range tiles, const float* x, const float* zeros,
                                         std::int64_t channels, point_rows to) {
    constexpr int side = F::points;
    const std::int64_t step = to.step<V>();
    for (std::int64_t t = 0; t < tiles.count; ++t) {
      array_of<const float*, side * side> pixels;
      find_pixels<side>(*grid, corner_of(*grid, tiles.first + t), x, zeros, pixels);
      float* const row = to.row_of<V, side>(t);
      for (std::int64_t c = 0; c < channels; c += lanes<V>) {
        matrix_of<V, side, side> columns;
#pragma GCC unroll 6
        for (int j = 0; j < side; ++j) {
          array_of<V, side> d;
#pragma GCC unroll 6
          for (int i = 0; i < side; ++i) load(d[i], pixels[i * side + j] + c);
          F::inputs(d, 1, &columns[0][j], side);
        }
#pragma GCC unroll 6
        for (int i = 0; i < side; ++i) {
          array_of<V, side> values;
          F::inputs(columns[i], 1, values, 1);
#pragma GCC unroll 6
          for (int j = 0; j < side; ++j) store(row + (i * side + j) * step + c, values[j]);
        }
      }
    }
  }
};

/// Transforms the gradients of the outputs of some tiles: `channels` channels from dy on. Adds them up for each
/// channel, from zero, and adds these sums to `sums` unless that is null. `zeros` has `channels` zeros.
template <class F>
struct transform_gradients {
  template <class V>
  static LOCKSTEP_ALWAYS_INLINE void run(const tile_grid* grid, tile_range tiles, const float* dy, const float* zeros,
                                         std::int64_t channels, point_rows to, float* sums) {
    constexpr int side = F::outputs;
    constexpr int points = F::points;
    const std::int64_t step = to.step<V>();
    for (std::int64_t t = 0; t < tiles.count; ++t) {
      array_of<const float*, side * side> pixels;
      find_pixels<side>(*grid, corner_of(*grid, tiles.first + t), dy, zeros, pixels);
      float* const row = to.row_of<V, points>(t);
      for (std::int64_t c = 0; c < channels; c += lanes<V>) {
        matrix_of<V, points, side> columns;
        V sum = {};
#pragma GCC unroll 4
        for (int j = 0; j < side; ++j) {
          array_of<V, side> d;
#pragma GCC unroll 4
          for (int i = 0; i < side; ++i) {
            load(d[i], pixels[i * side + j] + c);
            sum += d[i];
          }
          F::gradients(d, 1, &columns[0][j], side);
        }
#pragma GCC unroll 6
        for (int i = 0; i < points; ++i) {
          array_of<V, points> values;
          F::gradients(columns[i], 1, values, 1);
#pragma GCC unroll 6
          for (int j = 0; j < points; ++j) store(row + (i * points + j) * step + c, values[j]);
        }
        if (sums == nullptr) continue;
        add_from(sum, sums + c);
        store(sums + c, sum);
      }
    }
  }
};

/// Transforms products back: y = relu_if(bias + outputs) of some tiles, `channels` channels from y on.
template <class F>
struct transform_outputs {
  template <class V>
  static LOCKSTEP_ALWAYS_INLINE void run(const tile_grid* grid, tile_range tiles, point_rows from, const float* bias,
                                         bool rectify, std::int64_t channels, float* y) {
    constexpr int side = F::outputs;
    constexpr int points = F::points;
    const std::int64_t step = from.step<V>();
    for (std::int64_t t = 0; t < tiles.count; ++t) {
      const tile_corner corner = corner_of(*grid, tiles.first + t);
      const std::int64_t rows = grid->picture.height - corner.row;
      const std::int64_t places = grid->picture.width - corner.column;
      float* const tile =
          y +
          ((corner.sample * grid->picture.height + corner.row) * grid->picture.width + corner.column) * grid->channels;
      const float* row = from.row_of<V, points>(t);
      for (std::int64_t c = 0; c < channels; c += lanes<V>) {
        matrix_of<V, side, points> columns;
#pragma GCC unroll 6
        for (int j = 0; j < points; ++j) {
          array_of<V, points> m;
#pragma GCC unroll 6
          for (int i = 0; i < points; ++i) load(m[i], row + (i * points + j) * step + c);
          F::outputs_of(m, 1, &columns[0][j], points);
        }
        V start = {};
        if (bias != nullptr) load(start, bias + c);
#pragma GCC unroll 4
        for (int i = 0; i < side; ++i) {
          if (i >= rows) break;
          array_of<V, side> values;
          F::outputs_of(columns[i], 1, values, 1);
#pragma GCC unroll 4
          for (int j = 0; j < side; ++j) {
            if (j >= places) break;
            V value = values[j] + start;
            if (rectify) relu(value);
            store(tile + (i * grid->picture.width + j) * grid->channels + c, value);
          }
        }
      }
    }
  }
};

}  // namespace lockstep::cpu_backend::winograd
