// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <algorithm>
#include <cstdint>
#include <limits>

#include <lockstep/backend/attention_geometry.hpp>
#include <lockstep/backend/cpu/simd.hpp>
#include <lockstep/backend/cpu/transpose.hpp>
#include <lockstep/core/config.hpp>

/// \file
/// What both passes of attention do with tiles of scores: a row for each of some keys, a column for each of some
/// queries. So the maximum and the sum over the keys of a query are taken lane by lane, and products read keys and
/// values as they lie.

namespace lockstep::cpu_backend::flash {

/// Queries of a tile.
template <class V>
inline constexpr std::int64_t tile_queries = 2 * lanes<V>;
/// Most keys of a tile; a multiple of 4, as dropout's draws want it.
inline constexpr std::int64_t tile_keys = 64;

/// log2(e): scores are kept in units in which softmax takes powers of two.
inline constexpr float binary = 0x1.715476p0F;

/// Hands out parts of a workspace, each on a cache line of its own.
class workspace_parts {
 public:
  explicit workspace_parts(float* all) : next_(all) {}
  [[nodiscard]] float* take(std::int64_t count) {
    float* const part = next_;
    next_ += rounded(count);
    return part;
  }
  [[nodiscard]] static constexpr std::int64_t rounded(std::int64_t count) { return (count + 15) / 16 * 16; }

 private:
  float* next_;
};

/// to[c][r] = from[r][c] for `rows` rows of `columns` elements.
struct transpose_kernel {
  template <class V>
  static LOCKSTEP_ALWAYS_INLINE void run(std::int64_t rows, std::int64_t columns, const float* from,
                                         std::int64_t from_row, float* to, std::int64_t to_row) {
    std::int64_t r = 0;
    for (; r + 8 <= rows; r += 8) {
      std::int64_t c = 0;
      for (; c + 8 <= columns; c += 8) transpose8(from + r * from_row + c, from_row, to + c * to_row + r, to_row);
      for (; c < columns; ++c)
        for (std::int64_t i = r; i < r + 8; ++i) to[c * to_row + i] = from[i * from_row + c];
    }
    for (; r < rows; ++r)
      for (std::int64_t c = 0; c < columns; ++c) to[c * to_row + r] = from[r * from_row + c];
  }
};

/// x *= factor.
struct scale_kernel {
  template <class V>
  static LOCKSTEP_ALWAYS_INLINE void run(std::int64_t n, float factor, float* x) {
    V by;
    broadcast(by, factor);
    for (std::int64_t i = 0; i < n; i += lanes<V>) {
      V v;
      load(v, x + i);
      v *= by;
      store(x + i, v);
    }
  }
};

/// The columns of a tile: `count` rows of `width` elements become `width` rows of tile_queries<V>. What has no row is
/// zero, and everything is multiplied by `factor`.
template <class V>
void turn(std::int64_t count, std::int64_t width, const float* from, std::int64_t from_row, float factor, float* to) {
  constexpr std::int64_t columns = tile_queries<V>;
  if (count < columns) std::fill_n(to, width * columns, 0.F);
  run_for<V, transpose_kernel>(count, width, from, from_row, to, columns);
  if (factor != 1.F) run_for<V, scale_kernel>(width * columns, factor, to);
}

/// The way back.
template <class V>
void turn_back(std::int64_t count, std::int64_t width, const float* from, float* to, std::int64_t to_row) {
  run_for<V, transpose_kernel>(width, count, from, tile_queries<V>, to, to_row);
}

/// Copies rows, which are too short for a call of memcpy each.
struct copy_rows_kernel {
  template <class V>
  static LOCKSTEP_ALWAYS_INLINE void run(std::int64_t rows, std::int64_t width, const float* from,
                                         std::int64_t from_row, float* to, std::int64_t to_row) {
    for (std::int64_t r = 0; r < rows; ++r, from += from_row, to += to_row) {
      std::int64_t i = 0;
      for (; i + lanes<V> <= width; i += lanes<V>) {
        V v;
        load(v, from + i);
        store(to + i, v);
      }
      for (; i < width; ++i) to[i] = from[i];
    }
  }
};

/// Copies rows; elements from `width` to `to_row` become zero.
template <class V>
void pack(std::int64_t rows, std::int64_t width, const float* from, std::int64_t from_row, float* to,
          std::int64_t to_row) {
  if (width < to_row) std::fill_n(to, rows * to_row, 0.F);
  run_for<V, copy_rows_kernel>(rows, width, from, from_row, to, to_row);
}

/// The place of a tile: queries [query, query + queries), keys [key, key + keys).
struct tile_place {
  std::int64_t query, queries, key, keys;
};

/// What a causal query does not see gets the score of minus infinity.
template <class V>
void hide_later_keys(const tile_place& at, float* scores) {
  for (std::int64_t j = (std::max)(std::int64_t{0}, at.query + 1 - at.key); j < at.keys; ++j)
    std::fill_n(scores + j * tile_queries<V>, (std::min)(at.queries, at.key + j - at.query),
                -std::numeric_limits<float>::infinity());
}

}  // namespace lockstep::cpu_backend::flash
