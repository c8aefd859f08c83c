// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <algorithm>
#include <cstdint>

#include <lockstep/backend/attention_geometry.hpp>
#include <lockstep/backend/attention_mask.hpp>
#include <lockstep/backend/cpu/attention/draws.hpp>
#include <lockstep/backend/cpu/attention/product.hpp>
#include <lockstep/backend/cpu/attention/tile.hpp>
#include <lockstep/backend/cpu/simd.hpp>
#include <lockstep/backend/element_exponential.hpp>
#include <lockstep/core/config.hpp>

namespace lockstep::cpu_backend::flash {

/// means = the sum over `width` rows of y dy, which is the mean over a query's probabilities of their gradients.
struct mean_kernel {
  template <class V>
  static LOCKSTEP_ALWAYS_INLINE void run(std::int64_t width, const float* y, const float* dy, float* means) {
    constexpr std::int64_t row = tile_queries<V>;
#pragma GCC unroll 2
    for (int v = 0; v < 2; ++v) {
      V sum{};
      for (std::int64_t d = 0; d < width; ++d) {
        V a, b;
        load(a, y + d * row + v * lanes<V>);
        load(b, dy + d * row + v * lanes<V>);
        sum += a * b;
      }
      store(means + v * lanes<V>, sum);
    }
  }
};

/// For `keys` rows: scores become probabilities p = 2^(score - log_sum), times dropout's factors f; gradients of these
/// become those of the scores, p (f gradient - mean).
struct score_gradient_kernel {
  template <class V>
  static LOCKSTEP_ALWAYS_INLINE void run(std::int64_t keys, const float* factors, const float* log_sums,
                                         const float* means, float* scores, float* gradients) {
    constexpr std::int64_t row = tile_queries<V>;
    V log_sum[2], mean[2];
#pragma GCC unroll 2
    for (int v = 0; v < 2; ++v) {
      load(log_sum[v], log_sums + v * lanes<V>);
      load(mean[v], means + v * lanes<V>);
    }
    for (std::int64_t j = 0; j < keys; ++j)
#pragma GCC unroll 2
      for (int v = 0; v < 2; ++v) {
        const std::int64_t at = j * row + v * lanes<V>;
        V p, gradient;
        load(p, scores + at);
        load(gradient, gradients + at);
        p -= log_sum[v];
        detail::take_power_of_negative(p);
        if (factors == nullptr) {
          store(scores + at, p);
        } else {
          V factor;
          load(factor, factors + at);
          gradient *= factor;
          factor *= p;
          store(scores + at, factor);
        }
        p *= gradient - mean[v];
        store(gradients + at, p);
      }
  }
};

/// Elements of a row of gradients of keys and values: whole pairs of vectors.
template <class V>
[[nodiscard]] constexpr std::int64_t gradient_row(const attention_geometry& g) {
  return (g.width + 2 * lanes<V> - 1) / (2 * lanes<V>)*(2 * lanes<V>);
}

/// Floats of workspace that `backward_head` takes, at most.
[[nodiscard]] constexpr std::int64_t backward_room(const attention_geometry& g) {
  constexpr std::int64_t columns = tile_queries<float_x16>;
  const std::int64_t row = gradient_row<float_x16>(g);
  return 2 * workspace_parts::rounded(g.keys * g.width) + 2 * g.keys * row +
         columns * (3 * g.width + 2 * row + 3 * tile_keys + 2);
}

/// The arrays of a backward pass, at a head's first element; the gradients may lie where the values are.
struct backward_arrays {
  const float *q, *k, *v, *y, *dy;
  float *dq, *dk, *dv;
};

/// One head of one sample, of which `length` keys count, more than none. Probabilities are computed again from the
/// logarithms that forward has left. Queries come one tile after the other, so that sums have one order.
template <class V>
void backward_head(const attention_geometry& g, float scale, std::int64_t length, const attention_mask* mask,
                   std::int64_t head, const backward_arrays& of, const float* log_sums, float* workspace) {
  constexpr std::int64_t columns = tile_queries<V>;
  const std::int64_t row = gradient_row<V>(g);
  workspace_parts parts(workspace);
  float* const keys = parts.take(g.keys * g.width);
  float* const values = parts.take(g.keys * g.width);
  float* const key_gradients = parts.take(g.keys * row);
  float* const value_gradients = parts.take(g.keys * row);
  float* const queries = parts.take(g.width * columns);
  float* const outputs = parts.take(g.width * columns);  // their gradients
  float* const query_gradients = parts.take(g.width * columns);
  float* const query_rows = parts.take(columns * row);
  float* const output_rows = parts.take(columns * row);
  float* const scores = parts.take(tile_keys * columns);
  float* const gradients = parts.take(tile_keys * columns);
  float* const factors = mask == nullptr ? nullptr : parts.take(tile_keys * columns);
  float* const sums = parts.take(columns);
  float* const means = parts.take(columns);
  const std::int64_t last = g.seen(g.queries - 1, length);
  pack<V>(last, g.width, of.k, g.k.row, keys, g.width);
  pack<V>(last, g.width, of.v, g.v.row, values, g.width);
  std::fill_n(key_gradients, last * row, 0.F);
  std::fill_n(value_gradients, last * row, 0.F);
  std::fill_n(sums, columns, 0.F);
  for (std::int64_t i = 0; i < g.queries; i += columns) {
    tile_place at{.query = i, .queries = (std::min)(columns, g.queries - i), .key = 0, .keys = 0};
    const float* const q = of.q + i * g.q.row;
    const float* const dy = of.dy + i * g.y.row;
    // The mean needs y as columns only here, where the gradients of queries come later.
    turn<V>(at.queries, g.width, of.y + i * g.y.row, g.y.row, 1.F, query_gradients);
    turn<V>(at.queries, g.width, dy, g.y.row, 1.F, outputs);
    turn<V>(at.queries, g.width, q, g.q.row, scale * binary, queries);
    pack<V>(at.queries, g.width, q, g.q.row, query_rows, row);
    pack<V>(at.queries, g.width, dy, g.y.row, output_rows, row);
    run_for<V, mean_kernel>(g.width, query_gradients, outputs, means);
    std::copy_n(log_sums + i, at.queries, sums);
    const std::int64_t seen = g.seen(i + at.queries - 1, length);
    for (; at.key < seen; at.key += tile_keys) {
      at.keys = (std::min)(tile_keys, seen - at.key);
      const auto by_keys = [&](const float* a, const float* b, float* out) {
        multiply<V>({.rows = at.keys,
                     .depth = g.width,
                     .width = columns,
                     .a = a + at.key * g.width,
                     .a_row = g.width,
                     .a_step = 1,
                     .b = b,
                     .out = out,
                     .adds = false});
      };
      by_keys(keys, queries, scores);
      by_keys(values, outputs, gradients);
      if (g.causal) hide_later_keys<V>(at, scores);
      if (mask != nullptr) draw_factors<V>(*mask, head, at, factors);
      run_for<V, score_gradient_kernel>(at.keys, factors, sums, means, scores, gradients);
      const auto over_queries = [&](const float* a, const float* b, float* out) {
        multiply<V>({.rows = at.keys,
                     .depth = at.queries,
                     .width = row,
                     .a = a,
                     .a_row = columns,
                     .a_step = 1,
                     .b = b,
                     .out = out + at.key * row,
                     .adds = true});
      };
      over_queries(scores, output_rows, value_gradients);
      over_queries(gradients, query_rows, key_gradients);
      multiply<V>({.rows = g.width,
                   .depth = at.keys,
                   .width = columns,
                   .a = keys + at.key * g.width,
                   .a_row = 1,
                   .a_step = g.width,
                   .b = gradients,
                   .out = query_gradients,
                   .adds = at.key > 0});
    }
    run_for<V, scale_kernel>(g.width * columns, scale, query_gradients);
    turn_back<V>(at.queries, g.width, query_gradients, of.dq + i * g.q.row, g.q.row);
  }
  run_for<V, scale_kernel>(last * row, scale, key_gradients);
  run_for<V, copy_rows_kernel>(last, g.width, key_gradients, row, of.dk, g.k.row);
  run_for<V, copy_rows_kernel>(last, g.width, value_gradients, row, of.dv, g.v.row);
  for (std::int64_t j = last; j < g.keys; ++j) {
    std::fill_n(of.dk + j * g.k.row, g.width, 0.F);
    std::fill_n(of.dv + j * g.v.row, g.width, 0.F);
  }
}

}  // namespace lockstep::cpu_backend::flash
