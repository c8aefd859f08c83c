// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <algorithm>
#include <cstdint>
#include <type_traits>

#include <lockstep/backend/cpu/array.hpp>
#include <lockstep/backend/cpu/narrow_few_inputs.hpp>
#include <lockstep/backend/cpu/narrow_linear.hpp>
#include <lockstep/backend/cpu/simd.hpp>
#include <lockstep/backend/cpu/tiles.hpp>
#include <lockstep/backend/geometry.hpp>

/// \file
/// The forward product of a narrow layer, in vectors; narrow_linear.hpp says how its weights lie.

namespace lockstep::cpu_backend::narrow {

/// Number of panels after which the partial sums are stored.
inline constexpr std::int64_t panels_per_block = 8;

/// Distance, in inputs, from the inputs being computed to those being prefetched. The runs of a panel are too short for
/// the machine's own prefetching. Few requests may be outstanding at a time, so the kernels spread them over the work.
inline constexpr std::int64_t forward_ahead = 1024;

/// One of `count` parts of some work.
struct part_of {
  int index, count;

  /// Start of the part's share of n things, [first(n), next().first(n)).
  [[nodiscard]] constexpr std::int64_t first(std::int64_t n) const { return n * index / count; }
  [[nodiscard]] constexpr part_of next() const { return {index + 1, count}; }
};

/// Sums in progress that `forward` keeps for each sample; a layer of few inputs has none.
template <linear_geometry G>
inline constexpr std::int64_t partial_sums = has_few_inputs<G> ? 0 : G.out * lanes<float_x16>;

/// Most outputs of a tile of the forward pass. Five outputs by two samples keep ten sums, two inputs and one weight at
/// a time in 16 registers; of 16 lanes there are 32 registers.
template <class V, int Samples>
inline constexpr int most_outputs = Samples == 1 ? (lanes<V> == 16 ? 16 : 10) : (lanes<V> == 16 ? 10 : 5);

/// Number of tiles of the outputs of `Samples` samples, of about equal width: a narrow tile would wait for its own
/// sums.
template <linear_geometry G, class V, int Samples>
inline constexpr int forward_tiles =
    (static_cast<int>(G.out) + most_outputs<V, Samples> - 1) / most_outputs<V, Samples>;

/// y = relu_if(x w^T + b) for n samples.
template <linear_geometry G>
struct forward_kernel {
  template <class V>
  static LOCKSTEP_ALWAYS_INLINE void run(std::int64_t n, const float* LOCKSTEP_RESTRICT x,
                                         const float* LOCKSTEP_RESTRICT w, const float* LOCKSTEP_RESTRICT b,
                                         float* LOCKSTEP_RESTRICT y, float* LOCKSTEP_RESTRICT partial) {
    constexpr std::int64_t row = G.out * lanes<V>;
    std::fill_n(partial, n * row, 0.F);
    for (std::int64_t first = 0; first < G.in; first += panel * panels_per_block) {
      const std::int64_t last = (std::min)(G.in, first + panel * panels_per_block);
      const int pairs = static_cast<int>(n) / 2;
      part_of part{0, pairs * forward_tiles<G, V, 2> + static_cast<int>(n) % 2 * forward_tiles<G, V, 1>};
      std::int64_t s = 0;
      for (; s + 2 <= n; s += 2, part.index += forward_tiles<G, V, 2>)
        rows<V, 2>(first, last, x + s * G.in, w, partial + s * row, part);
      if (s < n) rows<V, 1>(first, last, x + s * G.in, w, partial + s * row, part);
    }
    for (std::int64_t s = 0; s < n; ++s)
      for (std::int64_t o = 0; o < G.out; ++o) {
        V sums;
        load(sums, partial + s * row + o * lanes<V>);
        const float v = sum_lanes(sums) + (G.bias ? b[o] : 0.F);
        y[s * G.out + o] = G.relu ? (std::max)(v, 0.F) : v;
      }
  }

 private:
  /// Tiles [Tile, forward_tiles) of `Samples` samples; the first of them starts at output `Output`.
  template <class V, int Samples, int Tile = 0, int Output = 0>
  static LOCKSTEP_ALWAYS_INLINE void rows(std::int64_t first, std::int64_t last, const float* x, const float* w,
                                          float* partial, part_of part) {
    constexpr int left = forward_tiles<G, V, Samples> - Tile;
    if constexpr (left > 0) {
      constexpr int now = (static_cast<int>(G.out) - Output + left - 1) / left;
      block<V, Samples, now>(first, last, x, w, Output, partial, part);
      rows<V, Samples, Tile + 1, Output + now>(first, last, x, w, partial, part.next());
    }
  }

  /// Adds to `partial` the products of the inputs [first, last) for `Samples` samples and the `Outputs` outputs from o.
  /// The call is `part` of all calls for these inputs, and prefetches its share of the next weights.
  template <class V, int Samples, int Outputs>
  static LOCKSTEP_ALWAYS_INLINE void block(std::int64_t first, std::int64_t last, const float* LOCKSTEP_RESTRICT x,
                                           const float* LOCKSTEP_RESTRICT w, int o, float* LOCKSTEP_RESTRICT partial,
                                           part_of part) {
    matrix_of<V, Samples, Outputs> sum;
#pragma GCC unroll 2
    for (int s = 0; s < Samples; ++s)
#pragma GCC unroll 16
      for (int k = 0; k < Outputs; ++k) load(sum[s][k], partial + (s * G.out + o + k) * lanes<V>);
    constexpr std::int64_t line = 16;
    const std::int64_t ask = part.first(panel * G.out / line) * line;
    const std::int64_t asked = part.next().first(panel * G.out / line) * line - ask;
    for (std::int64_t start = first; start < last; start += panel) {
      const float* in = x + start;
      const float* weights = w + start * G.out;
      if (start + forward_ahead + panel <= G.in) {
        if (o == 0)
          for (int s = 0; s < Samples; ++s) prefetch(in + s * G.in + forward_ahead, panel);
        prefetch(weights + forward_ahead * G.out + ask, asked);
      }
      constexpr std::int64_t rest = G.in % panel;
      if (rest == 0 || G.in - start >= panel)
        add_panel<V, Samples, Outputs, panel>(in, weights + o * panel, sum);
      else if constexpr (rest != 0)
        add_panel<V, Samples, Outputs, rest>(in, weights + o * rest, sum);
    }
#pragma GCC unroll 2
    for (int s = 0; s < Samples; ++s)
#pragma GCC unroll 16
      for (int k = 0; k < Outputs; ++k) store(partial + (s * G.out + o + k) * lanes<V>, sum[s][k]);
  }

  /// sum[s][k] += the products of one panel, whose inputs are the lanes; `w` holds `Width` weights of each output.
  template <class V, int Samples, int Outputs, std::int64_t Width>
  static LOCKSTEP_ALWAYS_INLINE void add_panel(const float* LOCKSTEP_RESTRICT x, const float* LOCKSTEP_RESTRICT w,
                                               matrix_of<V, Samples, Outputs>& sum) {
    std::int64_t i = 0;
    for (; i + lanes<V> <= Width; i += lanes<V>) {
      array_of<V, Samples> values;
#pragma GCC unroll 2
      for (int s = 0; s < Samples; ++s) {
        load(values[s], x + s * G.in + i);
        LOCKSTEP_IN_REGISTER(values[s]);
      }
#pragma GCC unroll 16
      for (int k = 0; k < Outputs; ++k) {
        V weight;
        load(weight, w + k * Width + i);
        if constexpr (Samples > 1) LOCKSTEP_IN_REGISTER(weight);
#pragma GCC unroll 2
        for (int s = 0; s < Samples; ++s) sum[s][k] += values[s] * weight;
      }
    }
    if constexpr (Width % lanes<V> != 0)
      for (; i < Width; ++i)
        for (int k = 0; k < Outputs; ++k)
          for (int s = 0; s < Samples; ++s) sum[s][k][0] += x[s * G.in + i] * w[k * Width + i];
  }
};

/// y = relu_if(x w^T + b) for n samples. `partial` holds n * partial_sums<G> floats of scratch. Cost: 2 n in out flops;
/// x is read once for every tile of outputs, from the first-level cache after the first time.
template <linear_geometry G, class V>
void forward(std::int64_t n, const float* x, const float* w, const float* b, float* y, float* partial) {
  if constexpr (has_few_inputs<G>)
    run_for<V, few_inputs_kernel<G>>(n, x, w, b, y);
  else
    run_for<V, forward_kernel<G>>(n, x, w, b, y, partial);
}

}  // namespace lockstep::cpu_backend::narrow
