// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <algorithm>
#include <cstdint>
#include <type_traits>

#include <lockstep/backend/cpu/simd.hpp>
#include <lockstep/backend/cpu/tiles.hpp>
#include <lockstep/backend/geometry.hpp>

/// \file
/// Matrix products whose one side is at most 16 wide: the last layer of most classifiers. A general GEMM copies both
/// operands into packed buffers first, which costs more than the product itself; here every activation is read once.
///
/// Weights lie in panels of 64 inputs, (in / 64) x out x 64 and a shorter last panel: one panel stays in the first
/// level cache, and rows that would lie a power of two apart do not compete for the same cache sets.

namespace lockstep::cpu_backend::narrow {

inline constexpr std::int64_t panel = 64;

/// Position of weight (o, i) in the flat range.
template <linear_geometry G>
[[nodiscard]] constexpr std::int64_t weight_offset(std::int64_t o, std::int64_t i) {
  const std::int64_t start = i / panel * panel;
  return start * G.out + o * std::min(panel, G.in - start) + (i - start);
}

/// Portable twin of `forward_avx2`.
template <linear_geometry G>
void forward_portable(std::int64_t n, const float* LOCKSTEP_RESTRICT x, const float* LOCKSTEP_RESTRICT w,
                      const float* LOCKSTEP_RESTRICT b, float* LOCKSTEP_RESTRICT y) {
  for (std::int64_t s = 0; s < n; ++s) {
    float sum[G.out] = {};
    for (std::int64_t start = 0; start < G.in; start += panel) {
      const std::int64_t width = std::min(panel, G.in - start);
      for (std::int64_t o = 0; o < G.out; ++o) {
        float part = 0;
        for (std::int64_t i = 0; i < width; ++i) part += x[s * G.in + start + i] * w[start * G.out + o * width + i];
        sum[o] += part;
      }
    }
    for (std::int64_t o = 0; o < G.out; ++o) {
      const float v = sum[o] + (G.bias ? b[o] : 0.F);
      y[s * G.out + o] = G.relu ? std::max(v, 0.F) : v;
    }
  }
}

/// Portable twin of `backward_avx2`.
template <linear_geometry G>
void backward_portable(std::int64_t n, const float* x, const float* LOCKSTEP_RESTRICT dy,
                       const float* LOCKSTEP_RESTRICT w, float* dx, float* LOCKSTEP_RESTRICT dw, bool accumulate) {
  for (std::int64_t start = 0; start < G.in; start += panel) {
    const std::int64_t width = std::min(panel, G.in - start);
    float sums[G.out * panel] = {};
    for (std::int64_t s = 0; s < n; ++s) {
      const float* xs = x + s * G.in + start;
      float back[panel] = {};
      for (std::int64_t o = 0; o < G.out; ++o) {
        const float d = dy[s * G.out + o];
        for (std::int64_t i = 0; i < width; ++i) {
          if constexpr (G.parameter_gradient) sums[o * width + i] += d * xs[i];
          if constexpr (G.input_gradient) back[i] += d * w[start * G.out + o * width + i];
        }
      }
      if constexpr (G.input_gradient)
        for (std::int64_t i = 0; i < width; ++i)
          dx[s * G.in + start + i] = G.mask_input && xs[i] <= 0.F ? 0.F : back[i];
    }
    if constexpr (G.parameter_gradient) {
      float* to = dw + start * G.out;
      for (std::int64_t i = 0; i < G.out * width; ++i) to[i] = accumulate ? to[i] + sums[i] : sums[i];
    }
  }
}

#if LOCKSTEP_X86_64()

/// How many panels are walked before the partial sums are stored.
inline constexpr std::int64_t panels_per_block = 8;

/// Inputs from those in work to those that are asked for. The runs of a panel are too short for the machine's own
/// prefetching, and few requests may wait at a time, so that they are spread over the work.
inline constexpr std::int64_t forward_ahead = 1024;
inline constexpr std::int64_t backward_ahead = 128;

/// One of `count` parts of some work.
struct part_of {
  int index, count;

  /// The part's share of n things: [first(n), first(n) of the next part).
  [[nodiscard]] constexpr std::int64_t first(std::int64_t n) const { return n * index / count; }
  [[nodiscard]] constexpr part_of next() const { return {index + 1, count}; }
};

/// sum[s][k] += the products of one panel, eight inputs to a sum: `w` holds `width` weights of each output.
template <linear_geometry G, int Samples, int Outputs, class Width>
LOCKSTEP_TARGET_AVX2 LOCKSTEP_ALWAYS_INLINE void forward_panel(const float* LOCKSTEP_RESTRICT x,
                                                               const float* LOCKSTEP_RESTRICT w, Width width,
                                                               float8 (&sum)[Samples][Outputs]) {
  std::int64_t i = 0;
  for (; i + 8 <= width; i += 8) {
    float8 weights[Outputs];
#pragma GCC unroll 10
    for (int k = 0; k < Outputs; ++k) {
      weights[k] = load8(w + k * width + i);
      // One load for all samples; folded into each product it would be one for each.
      if constexpr (Samples > 1) asm("" : "+x"(weights[k]));
    }
#pragma GCC unroll 2
    for (int s = 0; s < Samples; ++s) {
      float8 value = load8(x + s * G.in + i);
      asm("" : "+x"(value));  // one load for all outputs
#pragma GCC unroll 10
      for (int k = 0; k < Outputs; ++k) sum[s][k] += value * weights[k];
    }
  }
  if constexpr (G.in % 8 != 0)
    for (; i < width; ++i)
      for (int k = 0; k < Outputs; ++k)
        for (int s = 0; s < Samples; ++s) sum[s][k][0] += x[s * G.in + i] * w[k * width + i];
}

/// `Outputs` outputs of `Samples` samples for the inputs [first, last), on top of `partial`. `part` of all such calls
/// for these inputs: each asks for its share of the weights to come.
template <linear_geometry G, int Samples, int Outputs>
LOCKSTEP_TARGET_AVX2 LOCKSTEP_ALWAYS_INLINE void forward_block(std::int64_t first, std::int64_t last,
                                                               const float* LOCKSTEP_RESTRICT x,
                                                               const float* LOCKSTEP_RESTRICT w, int o,
                                                               float* LOCKSTEP_RESTRICT partial, part_of part) {
  float8 sum[Samples][Outputs];
#pragma GCC unroll 2
  for (int s = 0; s < Samples; ++s)
#pragma GCC unroll 10
    for (int k = 0; k < Outputs; ++k) sum[s][k] = load8(partial + (s * G.out + o + k) * 8);
  constexpr std::int64_t line = 16;
  const std::int64_t ask = part.first(panel * G.out / line) * line;
  const std::int64_t asked = part.next().first(panel * G.out / line) * line - ask;
  for (std::int64_t start = first; start < last; start += panel) {
    const float* in = x + start;
    const float* rows = w + start * G.out;
    if (start + forward_ahead + panel <= G.in) {
      if (o == 0)
        for (int s = 0; s < Samples; ++s) prefetch(in + s * G.in + forward_ahead, panel);
      prefetch(rows + forward_ahead * G.out + ask, asked);
    }
    if (const std::int64_t width = G.in - start; G.in % panel == 0 || width >= panel)
      forward_panel<G>(in, rows + o * panel, std::integral_constant<std::int64_t, panel>{}, sum);
    else
      forward_panel<G>(in, rows + o * width, width, sum);
  }
#pragma GCC unroll 2
  for (int s = 0; s < Samples; ++s)
#pragma GCC unroll 10
    for (int k = 0; k < Outputs; ++k) store8(partial + (s * G.out + o + k) * 8, sum[s][k]);
}

/// Tiles that the outputs of `Samples` samples are cut into. Five outputs by two samples are ten sums, five weights and
/// one input: the sixteen registers there are. Tiles of about equal width keep a narrow one from waiting for its own
/// sums.
template <linear_geometry G, int Samples>
inline constexpr int forward_tiles = (static_cast<int>(G.out) + (Samples == 1 ? 9 : 4)) / (Samples == 1 ? 10 : 5);

/// Tiles [Tile, forward_tiles) of `Samples` samples, whose first outputs are `Output`.
template <linear_geometry G, int Samples, int Tile = 0, int Output = 0>
LOCKSTEP_TARGET_AVX2 LOCKSTEP_ALWAYS_INLINE void forward_rows(std::int64_t first, std::int64_t last, const float* x,
                                                              const float* w, float* partial, part_of part) {
  constexpr int left = forward_tiles<G, Samples> - Tile;
  if constexpr (left > 0) {
    constexpr int now = (static_cast<int>(G.out) - Output + left - 1) / left;
    forward_block<G, Samples, now>(first, last, x, w, Output, partial, part);
    forward_rows<G, Samples, Tile + 1, Output + now>(first, last, x, w, partial, part.next());
  }
}

/// y = x w^T + b for n samples. `partial` holds n * out * 8 floats of scratch. Cost: 2 n in out flops; x is read
/// once for every five outputs, from the first-level cache after the first time.
template <linear_geometry G>
LOCKSTEP_TARGET_AVX2 void forward_avx2(std::int64_t n, const float* LOCKSTEP_RESTRICT x,
                                       const float* LOCKSTEP_RESTRICT w, const float* LOCKSTEP_RESTRICT b,
                                       float* LOCKSTEP_RESTRICT y, float* LOCKSTEP_RESTRICT partial) {
  std::fill_n(partial, n * G.out * 8, 0.F);
  for (std::int64_t first = 0; first < G.in; first += panel * panels_per_block) {
    const std::int64_t last = std::min(G.in, first + panel * panels_per_block);
    const int pairs = static_cast<int>(n) / 2;
    part_of part{0, pairs * forward_tiles<G, 2> + static_cast<int>(n) % 2 * forward_tiles<G, 1>};
    std::int64_t s = 0;
    for (; s + 2 <= n; s += 2, part.index += forward_tiles<G, 2>)
      forward_rows<G, 2>(first, last, x + s * G.in, w, partial + s * G.out * 8, part);
    if (s < n) forward_rows<G, 1>(first, last, x + s * G.in, w, partial + s * G.out * 8, part);
  }
  for (std::int64_t s = 0; s < n; ++s)
    for (std::int64_t o = 0; o < G.out; ++o) {
      const float v = sum8(load8(partial + (s * G.out + o) * 8)) + (G.bias ? b[o] : 0.F);
      y[s * G.out + o] = G.relu ? std::max(v, 0.F) : v;
    }
}

/// What becomes of the sums of a run of samples: they start at zero or at `from`, and go to `to`, on top of what it
/// holds when `add`.
struct sum_path {
  const float* from;
  float* to;
  bool add;

  [[nodiscard]] sum_path at(std::int64_t offset) const {
    return {from == nullptr ? nullptr : from + offset, to + offset, add};
  }
};

/// `Outputs` rows of the weight gradient, 8 * Vectors columns: dy^T x over `Samples` samples.
template <linear_geometry G, int Samples, int Outputs, int Vectors>
LOCKSTEP_TARGET_AVX2 LOCKSTEP_ALWAYS_INLINE void weight_tile(const float* x, const float* dy, const sum_path& path,
                                                             std::int64_t width) {
  float8 sum[Outputs][Vectors] = {};
  if (path.from != nullptr)
#pragma GCC unroll 6
    for (int o = 0; o < Outputs; ++o)
#pragma GCC unroll 2
      for (int v = 0; v < Vectors; ++v) sum[o][v] = load8(path.from + o * width + 8 * v);
  multiply_add(Samples, dy, 1, G.out, x, G.in, sum);
#pragma GCC unroll 6
  for (int o = 0; o < Outputs; ++o)
#pragma GCC unroll 2
    for (int v = 0; v < Vectors; ++v) {
      float* to = path.to + o * width + 8 * v;
      store8(to, path.add ? load8(to) + sum[o][v] : sum[o][v]);
    }
}

/// 8 * Vectors columns of dx = dy w for `Samples` samples.
template <linear_geometry G, int Samples, int Vectors>
LOCKSTEP_TARGET_AVX2 LOCKSTEP_ALWAYS_INLINE void input_tile(const float* x, const float* dy, const float* w, float* dx,
                                                            std::int64_t width) {
  float8 back[Samples][Vectors] = {};
  multiply_add(G.out, dy, G.out, 1, w, width, back);
#pragma GCC unroll 4
  for (int s = 0; s < Samples; ++s)
#pragma GCC unroll 2
    for (int v = 0; v < Vectors; ++v) {
      const std::int64_t at = s * G.in + 8 * v;
      store8(dx + at, G.mask_input ? masked8(load8(x + at), back[s][v]) : back[s][v]);
    }
}

/// Where the columns lie that backward comes to after those in work.
struct next_columns {
  const float *x, *w, *dw;

  [[nodiscard]] next_columns at(std::int64_t i) const { return {x + i, w + i, dw + i}; }
};

/// Asks for 16 columns of `Outputs` weights and gradients to come.
template <linear_geometry G, std::int64_t First, std::int64_t Outputs>
LOCKSTEP_ALWAYS_INLINE void ask_for(const next_columns& next) {
#pragma GCC unroll 16
  for (std::int64_t o = First; o < First + Outputs; ++o) {
    if constexpr (G.input_gradient) prefetch(next.w + o * panel, 16);
    if constexpr (G.parameter_gradient) prefetch(next.dw + o * panel, 16);
  }
}

/// 8 * Vectors columns of both gradients for `Samples` samples. dx, which may be x, is written last.
template <linear_geometry G, int Samples, int Vectors, bool Ask, std::int64_t Output = 0>
LOCKSTEP_TARGET_AVX2 LOCKSTEP_ALWAYS_INLINE void backward_columns(const float* x, const float* dy, const float* w,
                                                                  float* dx, const sum_path& path, std::int64_t width,
                                                                  const next_columns& next) {
  constexpr std::int64_t left = G.out - Output;
  if constexpr (Ask && Output == 0)
#pragma GCC unroll 8
    for (int s = 0; s < Samples; ++s) prefetch(next.x + s * G.in, 16);
  if constexpr (G.parameter_gradient && left > 0) {
    // Six outputs by two vectors are twelve sums; tiles of about equal height keep a low one from waiting for its own.
    constexpr int now = static_cast<int>((left + (left + 5) / 6 - 1) / ((left + 5) / 6));
    if constexpr (Ask) ask_for<G, Output, now>(next);
    weight_tile<G, Samples, now, Vectors>(x, dy + Output, path.at(Output * width), width);
    backward_columns<G, Samples, Vectors, Ask, Output + now>(x, dy, w, dx, path, width, next);
  } else if constexpr (G.input_gradient) {
    if constexpr (Ask && !G.parameter_gradient) ask_for<G, 0, G.out>(next);
    constexpr int most = std::min(Samples, 4);
#pragma GCC unroll 2
    for (int s = 0; s < Samples; s += most)
      input_tile<G, most, Vectors>(x + s * G.in, dy + s * G.out, w, dx + s * G.in, width);
  }
}

/// The whole vectors of one panel for `Samples` samples.
template <linear_geometry G, int Samples, class Width>
LOCKSTEP_TARGET_AVX2 void backward_panel(const float* x, const float* dy, const float* w, float* dx,
                                         const sum_path& path, Width width, const next_columns& next) {
  constexpr bool asks = !std::is_same_v<Width, std::int64_t>;  // columns of a narrower panel lie closer
  const auto back = [&](std::int64_t i) { return G.input_gradient ? dx + i : nullptr; };
  std::int64_t i = 0;
  for (; i + 16 <= width; i += 16)
    backward_columns<G, Samples, 2, asks>(x + i, dy, w + i, back(i), path.at(i), width, next.at(i));
  if constexpr (G.in % 16 >= 8)
    if (i + 8 <= width) backward_columns<G, Samples, 1, false>(x + i, dy, w + i, back(i), path.at(i), width, next);
}

/// One column of all samples, for the columns behind the last eight.
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

/// dw (+)= dy^T x and dx = dy w (zero where x <= 0 when G.mask_input); dx may be x. Cost: 2 n in out flops for each of
/// the two.
template <linear_geometry G>
LOCKSTEP_TARGET_AVX2 void backward_avx2(std::int64_t n, const float* x, const float* LOCKSTEP_RESTRICT dy,
                                        const float* LOCKSTEP_RESTRICT w, float* dx, float* LOCKSTEP_RESTRICT dw,
                                        bool accumulate) {
  // A panel of eight samples fits the first-level cache, of which samples that lie a power of two apart fill one way
  // each. Sums in progress stay there too; the last samples bring them to dw, so that the sum over all samples is
  // complete before anything older is added to it.
  float sums[G.out * panel];
  for (std::int64_t start = 0; start < G.in; start += panel) {
    const std::int64_t width = std::min(panel, G.in - start);
    const std::int64_t whole = width / 8 * 8;
    const float* wp = w + start * G.out;
    // Without a gradient of the weights nothing is written here.
    float* dwp = G.parameter_gradient ? dw + start * G.out : sums;
    // At the end, where no whole panel follows, nothing is asked for but what is in work.
    const std::int64_t ahead = start + backward_ahead + panel <= G.in ? backward_ahead : 0;
    const auto back = [&](std::int64_t at) { return G.input_gradient ? dx + at : nullptr; };
    std::int64_t s = 0;
    const auto run = [&]<int Samples>(std::integral_constant<int, Samples>) {
      for (; s + Samples <= n; s += Samples) {
        const bool last = s + Samples == n;
        const std::int64_t at = s * G.in + start;
        const next_columns next{x + at + ahead, wp + ahead * G.out, dwp + (G.parameter_gradient ? ahead * G.out : 0)};
        const sum_path path{s == 0 ? nullptr : sums, last ? dwp : sums, last && accumulate};
        if (G.in % panel == 0 || width == panel)
          backward_panel<G, Samples>(x + at, dy + s * G.out, wp, back(at), path,
                                     std::integral_constant<std::int64_t, panel>{}, next);
        else
          backward_panel<G, Samples>(x + at, dy + s * G.out, wp, back(at), path, width, next);
      }
    };
    run(std::integral_constant<int, 8>{});
    run(std::integral_constant<int, 4>{});
    run(std::integral_constant<int, 1>{});
    if constexpr (G.in % 8 != 0)
      for (std::int64_t i = whole; i < width; ++i)
        backward_tail<G>(n, x + start + i, dy, wp + i, back(start + i), dwp + i, width, accumulate);
  }
}

#endif

}  // namespace lockstep::cpu_backend::narrow
