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
/// Both gradients of a narrow layer, in vectors; narrow_linear.hpp says how its weights lie.

namespace lockstep::cpu_backend::narrow {

/// Distance, in inputs, from the inputs being computed to those being prefetched; see forward_ahead.
inline constexpr std::int64_t backward_ahead = 128;

/// Where the sums of a run of samples start and go: they start at zero or at `from`, and are stored to `to`, or added
/// to it when `add`.
struct sum_path {
  const float* from;
  float* to;
  bool add;

  [[nodiscard]] sum_path at(std::int64_t offset) const {
    return {from == nullptr ? nullptr : from + offset, to + offset, add};
  }
};

/// Most rows, of two vectors each, in a tile of the weight gradient.
template <class V>
inline constexpr std::int64_t most_weight_rows = lanes<V> == 16 ? 12 : 6;

/// Most samples, of two vectors each, in a tile of the input gradient.
template <class V>
inline constexpr int most_input_rows = lanes<V> == 16 ? 8 : 4;

/// `Outputs` rows of the weight gradient, `Vectors` vectors of columns: dy^T x over `Samples` samples.
template <linear_geometry G, class V, int Samples, int Outputs, int Vectors>
LOCKSTEP_ALWAYS_INLINE void weight_tile(const float* x, const float* dy, const sum_path& path, std::int64_t width) {
  matrix_of<V, Outputs, Vectors> sum = {};
  if (path.from != nullptr)
#pragma GCC unroll 12
    for (int o = 0; o < Outputs; ++o)
#pragma GCC unroll 2
      for (int v = 0; v < Vectors; ++v) load(sum[o][v], path.from + o * width + lanes<V> * v);
  multiply_add<V, Outputs, Vectors>(Samples, dy, 1, G.out, x, G.in, lanes<V>, sum);
  if (path.add)
#pragma GCC unroll 12
    for (int o = 0; o < Outputs; ++o)
#pragma GCC unroll 2
      for (int v = 0; v < Vectors; ++v) add_from(sum[o][v], path.to + o * width + lanes<V> * v);
#pragma GCC unroll 12
  for (int o = 0; o < Outputs; ++o)
#pragma GCC unroll 2
    for (int v = 0; v < Vectors; ++v) store(path.to + o * width + lanes<V> * v, sum[o][v]);
}

/// `Vectors` vectors of columns of dx = dy w for `Samples` samples.
template <linear_geometry G, class V, int Samples, int Vectors>
LOCKSTEP_ALWAYS_INLINE void input_tile(const float* x, const float* dy, const float* w, float* dx, std::int64_t width) {
  matrix_of<V, Samples, Vectors> back = {};
  multiply_add<V, Samples, Vectors>(G.out, dy, G.out, 1, w, width, lanes<V>, back);
#pragma GCC unroll 8
  for (int s = 0; s < Samples; ++s)
#pragma GCC unroll 2
    for (int v = 0; v < Vectors; ++v) {
      const std::int64_t at = s * G.in + lanes<V> * v;
      if constexpr (G.mask_input) {
        V passed;
        load(passed, x + at);
        mask(passed, back[s][v]);
      }
      store(dx + at, back[s][v]);
    }
}

/// The columns that backward prefetches while it computes earlier ones.
struct next_columns {
  const float *x, *w, *dw;

  [[nodiscard]] next_columns at(std::int64_t i) const { return {x + i, w + i, dw + i}; }
};

/// Prefetches `Columns` columns of weights and gradients for the outputs [First, First + Outputs).
template <linear_geometry G, std::int64_t Columns, std::int64_t First, std::int64_t Outputs>
LOCKSTEP_ALWAYS_INLINE void ask_for(const next_columns& next) {
#pragma GCC unroll 16
  for (std::int64_t o = First; o < First + Outputs; ++o) {
    if constexpr (G.input_gradient) prefetch(next.w + o * panel, Columns);
    if constexpr (G.parameter_gradient) prefetch(next.dw + o * panel, Columns);
  }
}

/// Both gradients for the whole vectors of a panel of `Width` inputs and `Samples` samples.
template <linear_geometry G, int Samples, std::int64_t Width>
struct backward_panel {
  template <class V>
  static LOCKSTEP_ALWAYS_INLINE void run(const float* x, const float* dy, const float* w, float* dx,
                                         const sum_path& path, const next_columns& next) {
    constexpr bool asks = Width == panel;  // `ask_for` expects whole panels
    constexpr std::int64_t pair = 2 * lanes<V>;
    const auto back = [&](std::int64_t i) { return G.input_gradient ? dx + i : nullptr; };
    std::int64_t i = 0;
    if constexpr (Width >= pair)
      for (; i + pair <= Width; i += pair)
        columns<V, 2, asks>(x + i, dy, w + i, back(i), path.at(i), Width, next.at(i));
    if constexpr (Width % pair >= lanes<V>) columns<V, 1, false>(x + i, dy, w + i, back(i), path.at(i), Width, next);
  }

 private:
  /// `Vectors` vectors of columns of both gradients. dx, which may be x, is written last.
  template <class V, int Vectors, bool Ask, std::int64_t Output = 0>
  static LOCKSTEP_ALWAYS_INLINE void columns(const float* x, const float* dy, const float* w, float* dx,
                                             const sum_path& path, std::int64_t width, const next_columns& next) {
    constexpr std::int64_t left = G.out - Output;
    constexpr std::int64_t count = Vectors * lanes<V>;
    if constexpr (Ask && Output == 0)
#pragma GCC unroll 8
      for (int s = 0; s < Samples; ++s) prefetch(next.x + s * G.in, count);
    if constexpr (G.parameter_gradient && left > 0) {
      // Tiles of about equal height: a low tile would wait for its own sums.
      constexpr std::int64_t tiles = (left + most_weight_rows<V> - 1) / most_weight_rows<V>;
      constexpr int now = static_cast<int>((left + tiles - 1) / tiles);
      if constexpr (Ask) ask_for<G, count, Output, now>(next);
      weight_tile<G, V, Samples, now, Vectors>(x, dy + Output, path.at(Output * width), width);
      columns<V, Vectors, Ask, Output + now>(x, dy, w, dx, path, width, next);
    } else if constexpr (G.input_gradient) {
      if constexpr (Ask && !G.parameter_gradient) ask_for<G, count, 0, G.out>(next);
      constexpr int most = (std::min)(Samples, most_input_rows<V>);
#pragma GCC unroll 2
      for (int s = 0; s < Samples; s += most)
        input_tile<G, V, most, Vectors>(x + s * G.in, dy + s * G.out, w, dx + s * G.in, width);
    }
  }
};

/// One column of both gradients over all samples, for the columns after the last whole vector.
template <linear_geometry G>
void backward_tail(std::int64_t n, const float* x, const float* dy, const float* w, float* dx, float* dw,
                   std::int64_t width, bool accumulate) {
  if constexpr (G.parameter_gradient)
    for (std::int64_t o = 0; o < G.out; ++o) {
      float sum = 0;
      for (std::int64_t s = 0; s < n; ++s) sum += x[s * G.in] * dy[s * G.out + o];
      dw[o * width] = accumulate ? dw[o * width] + sum : sum;
    }
  if constexpr (G.input_gradient)
    for (std::int64_t s = 0; s < n; ++s) {
      float back = 0;
      for (std::int64_t o = 0; o < G.out; ++o) back += dy[s * G.out + o] * w[o * width];
      dx[s * G.in] = G.mask_input && x[s * G.in] <= 0.F ? 0.F : back;
    }
}

/// dw (+)= dy^T x and dx = dy w (zero where x <= 0 when G.mask_input); dx may be x. Cost: 2 n in out flops for each
/// gradient.
template <linear_geometry G, class V>
void backward(std::int64_t n, const float* x, const float* dy, const float* w, float* dx, float* dw, bool accumulate) {
  if constexpr (has_few_inputs<G> && G.parameter_gradient && !G.input_gradient)
    return run_for<V, few_inputs_gradient_kernel<G>>(n, x, dy, dw, accumulate);
  // A panel of eight samples fits the first-level cache, even where samples lie a power of two apart and each fills one
  // way. Sums in progress stay there too. The last samples take them to dw, so that the sum over all samples is
  // complete before it is added to older values.
  array_of<float, G.out * panel> sums;
  const auto run_panel = [&]<std::int64_t Width>(std::int64_t start, std::integral_constant<std::int64_t, Width>) {
    constexpr std::int64_t whole = Width / lanes<V> * lanes<V>;
    const float* wp = w + start * G.out;
    // Without a gradient of the weights, nothing is written to `dwp`.
    float* dwp = G.parameter_gradient ? dw + start * G.out : sums;
    // At the end, where no whole panel follows, only the columns being computed are prefetched.
    const std::int64_t ahead = start + backward_ahead + panel <= G.in ? backward_ahead : 0;
    const auto back = [&](std::int64_t at) { return G.input_gradient ? dx + at : nullptr; };
    std::int64_t s = 0;
    const auto run = [&]<int Samples>(std::integral_constant<int, Samples>) {
      for (; s + Samples <= n; s += Samples) {
        const bool last = s + Samples == n;
        const std::int64_t at = s * G.in + start;
        const next_columns next{x + at + ahead, wp + ahead * G.out, dwp + (G.parameter_gradient ? ahead * G.out : 0)};
        const sum_path path{s == 0 ? nullptr : sums, last ? dwp : sums, last && accumulate};
        run_for<V, backward_panel<G, Samples, Width>>(x + at, dy + s * G.out, wp, back(at), path, next);
      }
    };
    if constexpr (whole > 0) {
      run(std::integral_constant<int, 8>{});
      run(std::integral_constant<int, 4>{});
      run(std::integral_constant<int, 1>{});
    }
    if constexpr (whole < Width)
      for (std::int64_t i = whole; i < Width; ++i)
        backward_tail<G>(n, x + start + i, dy, wp + i, back(start + i), dwp + i, Width, accumulate);
  };
  for (std::int64_t start = 0; start + panel <= G.in; start += panel)
    run_panel(start, std::integral_constant<std::int64_t, panel>{});
  if constexpr (G.in % panel != 0)
    run_panel(G.in / panel * panel, std::integral_constant<std::int64_t, G.in % panel>{});
}

}  // namespace lockstep::cpu_backend::narrow
