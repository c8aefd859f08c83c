// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <lockstep/core/config.hpp>

#include <cstdint>

#include <lockstep/backend/cpu/array.hpp>
#include <lockstep/backend/cpu/simd.hpp>
#include <lockstep/backend/cpu/tiles.hpp>
#include <lockstep/backend/cpu/winograd/transform_tiles.hpp>

/// \file
/// The matrix products at the points. Output channels are cut into panels of one or two vectors: the weights of a panel
/// are points x input channels x panel, and so is what they are multiplied with or summed to.

namespace lockstep::cpu_backend::winograd {

/// Channels of a panel: two vectors. Where that does not divide the channels, the last panel has one vector.
template <class V>
inline constexpr std::int64_t panel_channels = 2 * lanes<V>;

/// At each of `points` points: to (tiles x panel) = from (tiles x depth) weights (depth x panel). A group's rows past
/// its last tile may be read and written.
template <int Vectors>
struct multiply_points {
  template <class V>
  static LOCKSTEP_ALWAYS_INLINE void run(std::int64_t points, std::int64_t tiles, const float* LOCKSTEP_RESTRICT from,
                                         std::int64_t depth, const float* LOCKSTEP_RESTRICT weights,
                                         float* LOCKSTEP_RESTRICT to) {
    constexpr std::int64_t most = group_rows<V>;
    constexpr std::int64_t panel = Vectors * lanes<V>;
    const std::int64_t from_step = point_step(most * depth);
    constexpr std::int64_t to_step = point_step(most * panel);
    for (std::int64_t p = 0; p < points; ++p, weights += point_step(depth * panel)) {
      const float* group = from + p * from_step;
      float* result = to + p * to_step;
      std::int64_t left = tiles;
      for (; left > most * 2 / 3; left -= most) {
        rows<V, most>(depth, group, weights, result);
        group += points * from_step;
        result += points * to_step;
      }
      if (left > most / 3)
        rows<V, most * 2 / 3>(depth, group, weights, result);
      else if (left > 0)
        rows<V, most / 3>(depth, group, weights, result);
    }
  }

 private:
  template <class V, int Rows>
  static LOCKSTEP_ALWAYS_INLINE void rows(std::int64_t depth, const float* LOCKSTEP_RESTRICT from,
                                          const float* LOCKSTEP_RESTRICT weights, float* LOCKSTEP_RESTRICT to) {
    matrix_of<V, Rows, Vectors> sum = {};
    multiply_add<V, Rows, Vectors>(depth, from, depth, 1, weights, Vectors * lanes<V>, lanes<V>, sum);
#pragma GCC unroll 12
    for (int r = 0; r < Rows; ++r)
#pragma GCC unroll 2
      for (int v = 0; v < Vectors; ++v) store(to + r * Vectors * lanes<V> + lanes<V> * v, sum[r][v]);
  }
};

/// At each of `points` points: sums (channels x panel) = or, when `add`, += from^T (channels x tiles) gradients (tiles
/// x panel). What is added is first summed over the tiles from zero. `channels` is a multiple of 8.
template <int Vectors>
struct sum_point_products {
  template <class V>
  static LOCKSTEP_ALWAYS_INLINE void run(std::int64_t points, std::int64_t tiles, const float* LOCKSTEP_RESTRICT from,
                                         std::int64_t channels, const float* LOCKSTEP_RESTRICT gradients, bool add,
                                         float* LOCKSTEP_RESTRICT sums) {
    constexpr std::int64_t most = group_rows<V>;
    constexpr std::int64_t panel = Vectors * lanes<V>;
    constexpr int height = lanes<V> == 16 ? 8 : 4;
    for (std::int64_t p = 0; p < points; ++p, sums += point_step(channels * panel)) {
      const float* x = from + p * point_step(most * channels);
      const float* dy = gradients + p * point_step(most * panel);
      for (std::int64_t c = 0; c < channels; c += height)
        rows<V, height>(points, tiles, x + c, channels, dy, add, sums + c * panel);
    }
  }

 private:
  template <class V, int Rows>
  static LOCKSTEP_ALWAYS_INLINE void rows(std::int64_t points, std::int64_t tiles, const float* LOCKSTEP_RESTRICT from,
                                          std::int64_t channels, const float* LOCKSTEP_RESTRICT gradients, bool add,
                                          float* LOCKSTEP_RESTRICT sums) {
    constexpr std::int64_t most = group_rows<V>;
    constexpr std::int64_t panel = Vectors * lanes<V>;
    matrix_of<V, Rows, Vectors> sum = {};
    const std::int64_t from_group = points * point_step(most * channels);
    constexpr std::int64_t step = point_step(most * panel);
    for (; tiles > 0; tiles -= most, from += from_group, gradients += points * step)
      multiply_add<V, Rows, Vectors>(tiles < most ? tiles : most, from, 1, channels, gradients, panel, lanes<V>, sum);
#pragma GCC unroll 8
    for (int r = 0; r < Rows; ++r)
#pragma GCC unroll 2
      for (int v = 0; v < Vectors; ++v) {
        float* to = sums + r * panel + lanes<V> * v;
        if (add) add_from(sum[r][v], to);
        store(to, sum[r][v]);
      }
  }
};

}  // namespace lockstep::cpu_backend::winograd
