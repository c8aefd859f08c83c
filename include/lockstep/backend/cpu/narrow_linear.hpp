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

/// Inputs from the panel in work to the one that is asked for ahead. One panel of a sample is too short a run for the
/// machine's own prefetching, and where neighbours crowd the last cache every line comes from memory.
inline constexpr std::int64_t inputs_ahead = 512;

/// Asks for the lines of [from, from + count) before they are needed, into the second-level cache.
LOCKSTEP_ALWAYS_INLINE void prefetch(const float* from, std::int64_t count) {
  for (std::int64_t i = 0; i < count; i += 16) __builtin_prefetch(from + i, 0, 2);
}

template <linear_geometry G, std::int64_t Samples, std::int64_t Outputs>
LOCKSTEP_TARGET_AVX2 LOCKSTEP_ALWAYS_INLINE void forward_block(std::int64_t first, std::int64_t last,
                                                               const float* LOCKSTEP_RESTRICT x,
                                                               const float* LOCKSTEP_RESTRICT w, std::int64_t o,
                                                               float* LOCKSTEP_RESTRICT partial, bool first_samples) {
  float8 sum[Samples][Outputs];
  for (std::int64_t s = 0; s < Samples; ++s)
    for (std::int64_t k = 0; k < Outputs; ++k) sum[s][k] = load8(partial + (s * G.out + o + k) * 8);
  for (std::int64_t start = first; start < last; start += panel) {
    const std::int64_t width = std::min(panel, G.in - start);
    const float* rows = w + start * G.out + o * width;
    const float* in = x + start;
    if (start + inputs_ahead + panel <= G.in) {
      if (o == 0)
        for (std::int64_t s = 0; s < Samples; ++s) prefetch(in + s * G.in + inputs_ahead, panel);
      if (first_samples) prefetch(rows + inputs_ahead * G.out, Outputs * panel);
    }
    std::int64_t i = 0;
    for (; i + 8 <= width; i += 8) {
      float8 wv[Outputs];
#pragma GCC unroll 16
      for (std::int64_t k = 0; k < Outputs; ++k) wv[k] = load8(rows + k * width + i);
#pragma GCC unroll 8
      for (std::int64_t s = 0; s < Samples; ++s) {
        float8 xv = load8(in + s * G.in + i);
        asm("" : "+x"(xv));  // one load for all outputs; folded into each product it would be one for each
#pragma GCC unroll 16
        for (std::int64_t k = 0; k < Outputs; ++k) sum[s][k] += xv * wv[k];
      }
    }
    if constexpr (G.in % 8 != 0)
      for (; i < width; ++i)
        for (std::int64_t k = 0; k < Outputs; ++k)
          for (std::int64_t s = 0; s < Samples; ++s) sum[s][k][0] += in[s * G.in + i] * rows[k * width + i];
  }
  for (std::int64_t s = 0; s < Samples; ++s)
    for (std::int64_t k = 0; k < Outputs; ++k) store8(partial + (s * G.out + o + k) * 8, sum[s][k]);
}

/// Outputs [o, G.out) of `Samples` rows. Three outputs by four samples are twelve sums, three weights and one input:
/// the sixteen registers there are. A remainder of four is cut in two halves, since a single output waits for its sums.
template <linear_geometry G, std::int64_t Samples, std::int64_t Output = 0>
LOCKSTEP_TARGET_AVX2 LOCKSTEP_ALWAYS_INLINE void forward_rows(std::int64_t first, std::int64_t last, const float* x,
                                                              const float* w, float* partial, bool first_samples) {
  constexpr std::int64_t left = G.out - Output;
  if constexpr (left > 0) {
    constexpr std::int64_t most = Samples == 1 ? 8 : 3;
    constexpr std::int64_t now = left == most + 1 ? (most + 1) / 2 : std::min(left, most);
    forward_block<G, Samples, now>(first, last, x, w, Output, partial, first_samples);
    forward_rows<G, Samples, Output + now>(first, last, x, w, partial, first_samples);
  }
}

/// y = x w^T + b for n samples. `partial` holds n * out * 8 floats of scratch. Cost: 2 n in out flops; x is read once
/// for every 12 / 4 outputs, from the first-level cache after the first time.
template <linear_geometry G>
LOCKSTEP_TARGET_AVX2 void forward_avx2(std::int64_t n, const float* LOCKSTEP_RESTRICT x,
                                       const float* LOCKSTEP_RESTRICT w, const float* LOCKSTEP_RESTRICT b,
                                       float* LOCKSTEP_RESTRICT y, float* LOCKSTEP_RESTRICT partial) {
  std::fill_n(partial, n * G.out * 8, 0.F);
  for (std::int64_t first = 0; first < G.in; first += panel * panels_per_block) {
    const std::int64_t last = std::min(G.in, first + panel * panels_per_block);
    std::int64_t s = 0;
    for (; s + 4 <= n; s += 4) forward_rows<G, 4>(first, last, x + s * G.in, w, partial + s * G.out * 8, s == 0);
    for (; s < n; ++s) forward_rows<G, 1>(first, last, x + s * G.in, w, partial + s * G.out * 8, s == 0);
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

/// 8 * Vectors columns of both gradients for `Samples` samples. dx, which may be x, is written last.
template <linear_geometry G, int Samples, int Vectors, std::int64_t Output = 0>
LOCKSTEP_TARGET_AVX2 LOCKSTEP_ALWAYS_INLINE void backward_columns(const float* x, const float* dy, const float* w,
                                                                  float* dx, const sum_path& path, std::int64_t width) {
  constexpr std::int64_t left = G.out - Output;
  if constexpr (G.parameter_gradient && left > 0) {
    // Six outputs by two vectors are twelve sums; tiles of about equal height keep a low one from waiting for its own.
    constexpr int now = static_cast<int>((left + (left + 5) / 6 - 1) / ((left + 5) / 6));
    weight_tile<G, Samples, now, Vectors>(x, dy + Output, path.at(Output * width), width);
    backward_columns<G, Samples, Vectors, Output + now>(x, dy, w, dx, path, width);
  } else if constexpr (G.input_gradient) {
    constexpr int most = std::min(Samples, 4);
#pragma GCC unroll 2
    for (int s = 0; s < Samples; s += most)
      input_tile<G, most, Vectors>(x + s * G.in, dy + s * G.out, w, dx + s * G.in, width);
  }
}

/// The whole vectors of one panel for `Samples` samples.
template <linear_geometry G, int Samples, class Width>
LOCKSTEP_TARGET_AVX2 void backward_panel(const float* x, const float* dy, const float* w, float* dx,
                                         const sum_path& path, Width width) {
  std::int64_t i = 0;
  for (; i + 16 <= width; i += 16)
    backward_columns<G, Samples, 2>(x + i, dy, w + i, G.input_gradient ? dx + i : nullptr, path.at(i), width);
  if constexpr (G.in % 16 >= 8)
    if (i + 8 <= width)
      backward_columns<G, Samples, 1>(x + i, dy, w + i, G.input_gradient ? dx + i : nullptr, path.at(i), width);
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
    if (start + inputs_ahead + panel <= G.in) {
      for (std::int64_t s = 0; s < n; ++s) prefetch(x + s * G.in + start + inputs_ahead, panel);
      if constexpr (G.input_gradient) prefetch(wp + inputs_ahead * G.out, panel * G.out);
      if constexpr (G.parameter_gradient) prefetch(dwp + inputs_ahead * G.out, panel * G.out);
    }
    const auto back = [&](std::int64_t at) { return G.input_gradient ? dx + at : nullptr; };
    std::int64_t s = 0;
    const auto run = [&]<int Samples>(std::integral_constant<int, Samples>) {
      for (; s + Samples <= n; s += Samples) {
        const bool last = s + Samples == n;
        const std::int64_t at = s * G.in + start;
        const sum_path path{s == 0 ? nullptr : sums, last ? dwp : sums, last && accumulate};
        if (G.in % panel == 0 || width == panel)
          backward_panel<G, Samples>(x + at, dy + s * G.out, wp, back(at), path,
                                     std::integral_constant<std::int64_t, panel>{});
        else
          backward_panel<G, Samples>(x + at, dy + s * G.out, wp, back(at), path, width);
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
