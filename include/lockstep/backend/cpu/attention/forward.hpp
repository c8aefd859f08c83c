// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <algorithm>
#include <cstdint>
#include <limits>

#include <lockstep/backend/attention_geometry.hpp>
#include <lockstep/backend/attention_mask.hpp>
#include <lockstep/backend/cpu/attention/draws.hpp>
#include <lockstep/backend/cpu/attention/product.hpp>
#include <lockstep/backend/cpu/attention/tile.hpp>
#include <lockstep/backend/cpu/simd.hpp>
#include <lockstep/backend/element_exponential.hpp>
#include <lockstep/backend/element_math.hpp>
#include <lockstep/core/config.hpp>

namespace lockstep::cpu_backend::flash {

/// Makes powers of two of `keys` rows of scores, relative to the largest score of each query so far. `top` is that
/// largest score, `sum` the sum of the powers, `y` what the keys before have added up to (`width` rows): these
/// are brought to the new largest score. The powers are then multiplied by dropout's factors, if any.
struct softmax_kernel {
  template <class V>
  static LOCKSTEP_ALWAYS_INLINE void run(std::int64_t keys, float* scores, const float* factors, float* top, float* sum,
                                         std::int64_t width, float* y) {
    constexpr std::int64_t row = tile_queries<V>;
    V largest[2], total[2], change[2];
#pragma GCC unroll 2
    for (int v = 0; v < 2; ++v) {
      load(change[v], top + v * lanes<V>);
      load(total[v], sum + v * lanes<V>);
      largest[v] = change[v];
    }
    for (std::int64_t j = 0; j < keys; ++j)
#pragma GCC unroll 2
      for (int v = 0; v < 2; ++v) {
        V score;
        load(score, scores + j * row + v * lanes<V>);
        detail::take_larger(largest[v], score);
      }
#pragma GCC unroll 2
    for (int v = 0; v < 2; ++v) {
      store(top + v * lanes<V>, largest[v]);
      change[v] -= largest[v];
      detail::take_power_of_negative(change[v]);
      total[v] *= change[v];
    }
    for (std::int64_t j = 0; j < keys; ++j)
#pragma GCC unroll 2
      for (int v = 0; v < 2; ++v) {
        V p;
        load(p, scores + j * row + v * lanes<V>);
        p -= largest[v];
        detail::take_power_of_negative(p);
        total[v] += p;
        if (factors != nullptr) {
          V factor;
          load(factor, factors + j * row + v * lanes<V>);
          p *= factor;
        }
        store(scores + j * row + v * lanes<V>, p);
      }
#pragma GCC unroll 2
    for (int v = 0; v < 2; ++v) store(sum + v * lanes<V>, total[v]);
    for (std::int64_t d = 0; d < width; ++d)
#pragma GCC unroll 2
      for (int v = 0; v < 2; ++v) {
        V value;
        load(value, y + d * row + v * lanes<V>);
        value *= change[v];
        store(y + d * row + v * lanes<V>, value);
      }
  }
};

/// y /= sum for `width` rows; top += log2(sum), the logarithm of the sum of the powers of all scores.
struct finish_kernel {
  template <class V>
  static LOCKSTEP_ALWAYS_INLINE void run(float* top, const float* sum, std::int64_t width, float* y) {
    constexpr std::int64_t row = tile_queries<V>;
#pragma GCC unroll 2
    for (int v = 0; v < 2; ++v) {
      V total;
      load(total, sum + v * lanes<V>);
      V largest;
      load(largest, top + v * lanes<V>);
      V logarithm = total;
      detail::take_logarithm(logarithm);
      largest += logarithm * binary + 0.F * total;  // a NaN stays one
      store(top + v * lanes<V>, largest);
      const V inverse = 1.F / total;
      for (std::int64_t d = 0; d < width; ++d) {
        V value;
        load(value, y + d * row + v * lanes<V>);
        value *= inverse;
        store(y + d * row + v * lanes<V>, value);
      }
    }
  }
};

/// Floats of workspace that `forward_head` takes, at most.
[[nodiscard]] constexpr std::int64_t forward_room(const attention_geometry& g) {
  constexpr std::int64_t columns = tile_queries<float_x16>;
  return 2 * workspace_parts::rounded(g.keys * g.width) + 2 * columns * (g.width + tile_keys + 1);
}

/// One head of one sample, of which `length` keys count, more than none. q, k, v and y are at the head's first element.
/// Writes the logarithm of each query's sum of powers to `log_sums`. Dao et al., "FlashAttention", NeurIPS 2022.
template <class V>
void forward_head(const attention_geometry& g, float scale, std::int64_t length, const attention_mask* mask,
                  std::int64_t head, const float* q, const float* k, const float* v, float* y, float* log_sums,
                  float* workspace) {
  constexpr std::int64_t columns = tile_queries<V>;
  workspace_parts parts(workspace);
  float* const keys = parts.take(g.keys * g.width);
  float* const values = parts.take(g.keys * g.width);
  float* const queries = parts.take(g.width * columns);
  float* const sums = parts.take(g.width * columns);
  float* const scores = parts.take(tile_keys * columns);
  float* const factors = mask == nullptr ? nullptr : parts.take(tile_keys * columns);
  float* const top = parts.take(columns);
  float* const total = parts.take(columns);
  const std::int64_t last = g.seen(g.queries - 1, length);
  pack<V>(last, g.width, k, g.k.row, keys, g.width);
  pack<V>(last, g.width, v, g.v.row, values, g.width);
  for (std::int64_t i = 0; i < g.queries; i += columns) {
    tile_place at{.query = i, .queries = (std::min)(columns, g.queries - i), .key = 0, .keys = 0};
    turn<V>(at.queries, g.width, q + i * g.q.row, g.q.row, scale * binary, queries);
    std::fill_n(top, columns, std::numeric_limits<float>::lowest());
    std::fill_n(total, columns, 0.F);
    const std::int64_t seen = g.seen(i + at.queries - 1, length);
    for (; at.key < seen; at.key += tile_keys) {
      at.keys = (std::min)(tile_keys, seen - at.key);
      multiply<V>({.rows = at.keys,
                   .depth = g.width,
                   .width = columns,
                   .a = keys + at.key * g.width,
                   .a_row = g.width,
                   .a_step = 1,
                   .b = queries,
                   .out = scores,
                   .adds = false});
      if (g.causal) hide_later_keys<V>(at, scores);
      if (mask != nullptr) draw_factors<V>(*mask, head, at, factors);
      run_for<V, softmax_kernel>(at.keys, scores, factors, top, total, at.key == 0 ? std::int64_t{0} : g.width, sums);
      multiply<V>({.rows = g.width,
                   .depth = at.keys,
                   .width = columns,
                   .a = values + at.key * g.width,
                   .a_row = 1,
                   .a_step = g.width,
                   .b = scores,
                   .out = sums,
                   .adds = at.key > 0});
    }
    run_for<V, finish_kernel>(top, total, g.width, sums);
    turn_back<V>(at.queries, g.width, sums, y + i * g.y.row, g.y.row);
    std::copy_n(top, at.queries, log_sums + i);
  }
}

}  // namespace lockstep::cpu_backend::flash
