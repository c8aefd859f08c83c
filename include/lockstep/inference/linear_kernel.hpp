// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <lockstep/core/config.hpp>

#include <algorithm>
#include <cstdint>

#include <lockstep/inference/value_layout.hpp>
#include <lockstep/inference/vectors.hpp>

/// \file
/// Matrix products of a few rows. Weights are packed in blocks of up to eight vectors of outputs: block by block, the
/// bias, then the weights of each input in the order in which inputs lie.

namespace lockstep::detail::infer {

/// A fully connected layer on rows that lie `in_row` floats apart.
struct linear_shape {
  loop_nest inputs{};
  std::int64_t outputs = 1;
  std::int64_t rows = 1;  ///< of a sample
  std::int64_t in_row = 0;
  std::int64_t out_row = 0;
  bool relu = false;
  bool adds = false;

  friend constexpr bool operator==(const linear_shape&, const linear_shape&) = default;
};

/// Vectors of outputs in the largest block of weights.
inline constexpr std::int64_t linear_block = 8;

/// Rows x vectors of outputs in registers. With few of them, a sum is cut into `Chains` that do not wait for each
/// other.
template <class V, linear_shape G, int Rows, int Vectors, int Chains>
struct linear_tile {
  static constexpr std::int64_t width = lanes<V>;
  using sums = array_of<matrix_of<V, Chains, Vectors>, Rows>;

  /// `w` points to the block's bias; weights of neighbouring inputs lie `w_step` apart.
  static LOCKSTEP_ALWAYS_INLINE void run(const float* LOCKSTEP_RESTRICT w, std::int64_t w_step,
                                         const float* LOCKSTEP_RESTRICT x, std::int64_t x_row, const float* addend,
                                         float* y, std::int64_t y_row) {
    sums sum;
#pragma GCC unroll 8
    for (int r = 0; r < Rows; ++r)
#pragma GCC unroll 8
      for (int v = 0; v < Vectors; ++v) {
        load(sum[r][0][v], w + v * width);
#pragma GCC unroll 8
        for (int c = 1; c < Chains; ++c) sum[r][c][v] = V{};
      }
    w += w_step;
    constexpr loop_nest n = G.inputs;
    constexpr std::int64_t whole = n.count[2] / Chains;
    for (std::int64_t i = 0; i < n.count[0]; ++i)
      for (std::int64_t j = 0; j < n.count[1]; ++j) {
        const float* from = x + i * n.step[0] + j * n.step[1];
#pragma GCC unroll 2
        for (std::int64_t k = 0; k < whole; ++k, from += Chains * n.step[2])
#pragma GCC unroll 8
          for (int c = 0; c < Chains; ++c, w += w_step) add(w, from + c * n.step[2], x_row, sum, c);
#pragma GCC unroll 8
        for (int c = 0; c < n.count[2] % Chains; ++c, w += w_step) add(w, from + c * n.step[2], x_row, sum, c);
      }
#pragma GCC unroll 8
    for (int r = 0; r < Rows; ++r)
#pragma GCC unroll 8
      for (int v = 0; v < Vectors; ++v) {
#pragma GCC unroll 4
        for (int half = Chains / 2; half > 0; half /= 2)
#pragma GCC unroll 4
          for (int c = 0; c < half; ++c) sum[r][c][v] += sum[r][c + half][v];
        if constexpr (G.adds) cpu_backend::add_from(sum[r][0][v], addend + r * y_row + v * width);
        if constexpr (G.relu) rectify(sum[r][0][v]);
        store(y + r * y_row + v * width, sum[r][0][v]);
      }
  }

 private:
  static LOCKSTEP_ALWAYS_INLINE void add(const float* LOCKSTEP_RESTRICT w, const float* LOCKSTEP_RESTRICT x,
                                         std::int64_t x_row, sums& sum, int c) {
    array_of<V, Vectors> weights;
    if constexpr (Rows > 1)
#pragma GCC unroll 8
      for (int v = 0; v < Vectors; ++v) load(weights[v], w + v * width);
#pragma GCC unroll 8
    for (int r = 0; r < Rows; ++r) {
      V value;
      spread(value, x[r * x_row]);
#pragma GCC unroll 8
      for (int v = 0; v < Vectors; ++v) {
        if constexpr (Rows == 1) load(weights[v], w + v * width);
        sum[r][c][v] += value * weights[v];
      }
    }
  }
};

/// The rows of `Samples` samples, which lie `x_sample` and `y_sample` apart.
template <linear_shape G, int Samples>
struct linear_kernel {
  template <class V>
  static LOCKSTEP_ALWAYS_INLINE void run(const float* w, const float* x, std::int64_t x_sample, const float* addend,
                                         float* y, std::int64_t y_sample) {
    if constexpr (G.rows == 1) {
      rows<V, Samples>(w, x, x_sample, addend, y, y_sample);
    } else {
      for (int s = 0; s < Samples; ++s, x += x_sample, y += y_sample, addend += G.adds ? y_sample : 0) {
        std::int64_t r = 0;
        for (; r + 4 <= G.rows; r += 4)
          rows<V, 4>(w, x + r * G.in_row, G.in_row, addend + (G.adds ? r * G.out_row : 0), y + r * G.out_row,
                     G.out_row);
        if constexpr (G.rows % 4 != 0)
          for (; r < G.rows; ++r)
            rows<V, 1>(w, x + r * G.in_row, G.in_row, addend + (G.adds ? r * G.out_row : 0), y + r * G.out_row,
                       G.out_row);
      }
    }
  }

 private:
  template <class V, int Rows>
  static LOCKSTEP_ALWAYS_INLINE void rows(const float* w, const float* x, std::int64_t x_row, const float* addend,
                                          float* y, std::int64_t y_row) {
    constexpr std::int64_t vectors = round_up(G.outputs, lanes<V>) / lanes<V>;
    constexpr std::int64_t blocks = vectors / linear_block;
    constexpr std::int64_t block_size = (G.inputs.size() + 1) * linear_block * lanes<V>;
    if constexpr (blocks > 0)
      for (std::int64_t b = 0; b < blocks; ++b)
        block<V, Rows, linear_block>(w + b * block_size, x, x_row, addend + (G.adds ? b * linear_block * lanes<V> : 0),
                                     y + b * linear_block * lanes<V>, y_row);
    if constexpr (vectors % linear_block > 0)
      block<V, Rows, vectors % linear_block>(w + blocks * block_size, x, x_row,
                                             addend + (G.adds ? blocks * linear_block * lanes<V> : 0),
                                             y + blocks * linear_block * lanes<V>, y_row);
  }

  template <class V, int Rows, int Vectors>
  static LOCKSTEP_ALWAYS_INLINE void block(const float* w, const float* x, std::int64_t x_row, const float* addend,
                                           float* y, std::int64_t y_row) {
    constexpr std::int64_t step = Vectors * lanes<V>;
    if constexpr (Rows == 1) {
      constexpr int chains = Vectors >= 6 ? 1 : Vectors >= 4 ? 2 : Vectors >= 2 ? 4 : 8;
      constexpr int most = G.inputs.count[2] >= 2 * chains ? chains : G.inputs.count[2] >= 4 ? 2 : 1;
      linear_tile<V, G, 1, Vectors, (std::min)(chains, most)>::run(w, step, x, x_row, addend, y, y_row);
    } else {
      constexpr int tile = lanes<V> == 16 ? 4 : 2;
#pragma GCC unroll 4
      for (int v = 0; v + tile <= Vectors; v += tile)
        linear_tile<V, G, Rows, (std::min)(tile, Vectors), 1>::run(
            w + v * lanes<V>, step, x, x_row, addend + (G.adds ? v * lanes<V> : 0), y + v * lanes<V>, y_row);
      if constexpr (Vectors % tile > 0) {
        constexpr int v = Vectors / tile * tile;
        linear_tile<V, G, Rows, Vectors % tile, 1>::run(w + v * lanes<V>, step, x, x_row,
                                                        addend + (G.adds ? v * lanes<V> : 0), y + v * lanes<V>, y_row);
      }
    }
  }
};

/// Few outputs of many inputs that lie side by side: y = x w^T + b. The bias of all outputs, padded to a vector, comes
/// before the weights.
template <linear_shape G>
struct dot_kernel {
  template <class V>
  static LOCKSTEP_ALWAYS_INLINE void run(const float* w, const float* x, float* y) {
    constexpr std::int64_t inputs = G.inputs.size();
    constexpr std::int64_t padded = round_up(G.outputs, lanes<V>);
    constexpr int chains = inputs / lanes<V> >= 4 ? 4 : 2;
    constexpr std::int64_t whole = inputs / lanes<V> / chains;
    const float* row = w + padded;
    for (std::int64_t o = 0; o < padded; ++o) {
      if (o >= G.outputs) {
        y[o] = 0;
        continue;
      }
      array_of<V, chains> sum = {};
#pragma GCC unroll 2
      for (std::int64_t k = 0; k < whole; ++k)
#pragma GCC unroll 4
        for (int c = 0; c < chains; ++c) add(sum[c], row, x, (k * chains + c) * lanes<V>);
#pragma GCC unroll 4
      for (int c = 0; c < inputs / lanes<V> % chains; ++c) add(sum[c], row, x, (whole * chains + c) * lanes<V>);
#pragma GCC unroll 2
      for (int half = chains / 2; half > 0; half /= 2)
#pragma GCC unroll 2
        for (int c = 0; c < half; ++c) sum[c] += sum[c + half];
      y[o] = sum_lanes(sum[0]) + w[o];
      if constexpr (G.relu) rectify(y[o]);
      row += inputs;
    }
  }

 private:
  template <class V>
  static LOCKSTEP_ALWAYS_INLINE void add(V& sum, const float* w, const float* x, std::int64_t at) {
    V a, b;
    load(a, w + at);
    load(b, x + at);
    sum += a * b;
  }
};

}  // namespace lockstep::detail::infer
