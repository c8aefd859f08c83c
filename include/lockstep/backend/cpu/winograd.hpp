// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <algorithm>
#include <cstdint>

#include <lockstep/backend/cpu/narrow_convolution.hpp>
#include <lockstep/backend/cpu/simd.hpp>
#include <lockstep/backend/cpu/tiles.hpp>
#include <lockstep/backend/geometry.hpp>
#include <lockstep/core/tensor.hpp>

/// \file
/// The convolutions of narrow_convolution.hpp whose kernel has three rows, with a third fewer multiplications: two
/// output rows are made at once from four rows of sums and differences of the picture (S. Winograd's F(2, 3) down the
/// columns, and its transpose F(3, 2) for the weight gradient; A. Lavin and S. Gray, Fast Algorithms for Convolutional
/// Neural Networks, CVPR 2016). With rows d0 to d3 of the picture and g0 to g2 of the kernel,
///
///     m0 = (d1 + d2) (g0 + g1 + g2) / 2     y0 = m0 + m1 + (d0 - d2) g0
///     m1 = (d2 - d1) (g0 - g1 + g2) / 2     y1 = m0 - m1 + (d3 - d1) g2
///
/// where a product stands for all taps of a row. Both rows grow in the registers that held m0 and m1, so that nothing
/// is written between. All factors are 1 or 1/2, so that rounding errors grow by about a fifth only.

namespace lockstep::cpu_backend::narrow {

/// True when `winograd_forward` and `winograd_gradient` take this convolution.
[[nodiscard]] inline bool takes_winograd(const convolution_geometry& g) {
  return takes(g) && g.kernel.height == 3 && g.stride.height == 1 && g.dilation.height == 1 && g.out().height > 1;
}

/// What pairs of output rows read of a picture, for each pair four rows: (d1 + d2), (d2 - d1), (d0 - d2), (d3 - d1),
/// each as long as a padded row.
class winograd_rows {
 public:
  explicit winograd_rows(std::int64_t pairs, std::int64_t row) : row_(row), values_(pairs * 4 * row) {}

  /// Fills the rows of pair `pair` from the padded picture's row `d` and the three that follow.
  void load(std::int64_t pair, const float* LOCKSTEP_RESTRICT d) {
    float* LOCKSTEP_RESTRICT to = values_.data() + pair * 4 * row_;
    for (std::int64_t i = 0; i < row_; ++i) {
      to[i] = d[row_ + i] + d[2 * row_ + i];
      to[row_ + i] = d[2 * row_ + i] - d[row_ + i];
      to[2 * row_ + i] = d[i] - d[2 * row_ + i];
      to[3 * row_ + i] = d[3 * row_ + i] - d[row_ + i];
    }
  }

  [[nodiscard]] const float* data() const { return values_.data(); }
  /// Elements from one of the four rows to the next; from one pair to the next it is four times as much.
  [[nodiscard]] std::int64_t row_step() const { return row_; }

 private:
  std::int64_t row_;
  aligned_buffer<float> values_;
};

/// What `forward_pairs` needs besides its operands. Steps are distances in elements of x.
struct pair_shape {
  std::int64_t channels;  ///< output channels, a multiple of 16
  std::int64_t taps;      ///< taps of a row, input channels included: they lie close in x
  std::int64_t pixel_step, row_step;
  bool relu;
};

/// Which combination of the gradients of two rows a product takes.
enum class row_term : std::uint8_t { sum, difference, upper, lower };

#if LOCKSTEP_X86_64()

/// a[p][:] += x's first row * w's even rows, b[p][:] += x's second row * w's odd rows, w's rows of 16 channels.
template <int Pixels>
LOCKSTEP_TARGET_AVX2 LOCKSTEP_ALWAYS_INLINE void multiply_add_rows(const pair_shape& f,
                                                                   const float* LOCKSTEP_RESTRICT x,
                                                                   const float* LOCKSTEP_RESTRICT w,
                                                                   float8 (&a)[Pixels][2], float8 (&b)[Pixels][2]) {
  const float* LOCKSTEP_RESTRICT second = x + f.row_step;
  for (const float* end = w + f.taps * 32; w != end; w += 32, ++x, ++second) {
    multiply_add(1, x, f.pixel_step, 0, w, 16, a);
    multiply_add(1, second, f.pixel_step, 0, w + 16, 16, b);
  }
}

/// `tiles` tiles of `Pixels` neighbouring pixels in two output rows: y = relu_if(b + x w). x holds the rows of
/// `winograd_rows`; weights are channels / 16 x 2 (middle, outer rows) x taps x 2 x 16.
template <int Pixels>
LOCKSTEP_TARGET_AVX2 void forward_pairs(const pair_shape& f, std::int64_t tiles, const float* LOCKSTEP_RESTRICT x,
                                        const float* LOCKSTEP_RESTRICT w, const float* LOCKSTEP_RESTRICT b,
                                        float* LOCKSTEP_RESTRICT upper, float* LOCKSTEP_RESTRICT lower) {
  for (; tiles > 0; --tiles, x += Pixels * f.pixel_step, upper += Pixels * f.channels, lower += Pixels * f.channels) {
    const float* LOCKSTEP_RESTRICT tap = w;
    for (std::int64_t c = 0; c < f.channels; c += 16, tap += f.taps * 64) {
      float8 first[Pixels][2];
      float8 second[Pixels][2] = {};
#pragma GCC unroll 3
      for (int p = 0; p < Pixels; ++p)
#pragma GCC unroll 2
        for (int v = 0; v < 2; ++v) first[p][v] = load8(b + c + 8 * v);
      multiply_add_rows(f, x, tap, first, second);
#pragma GCC unroll 3
      for (int p = 0; p < Pixels; ++p)
#pragma GCC unroll 2
        for (int v = 0; v < 2; ++v) {
          const float8 difference = first[p][v] - second[p][v];
          first[p][v] += second[p][v];
          second[p][v] = difference;
        }
      multiply_add_rows(f, x + 2 * f.row_step, tap + f.taps * 32, first, second);
#pragma GCC unroll 3
      for (int p = 0; p < Pixels; ++p)
#pragma GCC unroll 2
        for (int v = 0; v < 2; ++v) {
          store8(upper + p * f.channels + c + 8 * v, f.relu ? relu8(first[p][v]) : first[p][v]);
          store8(lower + p * f.channels + c + 8 * v, f.relu ? relu8(second[p][v]) : second[p][v]);
        }
    }
  }
}

/// sums[t][c] += sum over pairs and pixels of x[pixel][t] * term(upper[pixel][c], lower[pixel][c]): `Taps` neighbouring
/// taps, 32 channels. Steps are distances in elements: x between pixels and between pairs; gradients between pixels
/// and between pairs.
template <row_term Term, int Taps>
LOCKSTEP_TARGET_AVX2 inline void pair_product(std::int64_t pairs, std::int64_t pixels, const float* LOCKSTEP_RESTRICT x,
                                              std::int64_t x_step, std::int64_t x_pair, const float* upper,
                                              const float* lower, std::int64_t channels, std::int64_t pair_step,
                                              float* LOCKSTEP_RESTRICT sums) {
  float8 sum[Taps][4] = {};
  for (std::int64_t r = 0; r < pairs; ++r) {
    const float* in = x + r * x_pair;
    const float* up = upper + r * pair_step;
    const float* low = lower + r * pair_step;
    for (std::int64_t p = 0; p < pixels; ++p, in += x_step, up += channels, low += channels) {
      // Three broadcast taps, one row vector at a time and twelve sums: exactly the sixteen registers there are.
      float8 v[Taps];
#pragma GCC unroll 4
      for (int t = 0; t < Taps; ++t) v[t] = broadcast8(in[t]);
#pragma GCC unroll 4
      for (int k = 0; k < 4; ++k) {
        float8 d = Term == row_term::lower ? load8(low + 8 * k) : load8(up + 8 * k);
        if constexpr (Term == row_term::sum) d += load8(low + 8 * k);
        if constexpr (Term == row_term::difference) d -= load8(low + 8 * k);
        asm("" : "+x"(d));  // one value for three uses; folded into each product it would be made three times
#pragma GCC unroll 4
        for (int t = 0; t < Taps; ++t) sum[t][k] += d * v[t];
      }
    }
  }
  add_sums(sum, channels, sums);
}

#else

template <int Pixels>
void forward_pairs(const pair_shape& f, std::int64_t tiles, const float* x, const float* w, const float* b,
                   float* upper, float* lower) {
  for (std::int64_t p = 0; p < tiles * Pixels; ++p, x += f.pixel_step, upper += f.channels, lower += f.channels)
    for (std::int64_t c = 0; c < f.channels; ++c) {
      const float* middle = w + c / 16 * 64 * f.taps + c % 16;
      const float* outer = middle + 32 * f.taps;
      float first = b[c], second = 0, top = 0, bottom = 0;
      for (std::int64_t t = 0; t < f.taps; ++t) {
        first += x[t] * middle[32 * t];
        second += x[f.row_step + t] * middle[32 * t + 16];
        top += x[2 * f.row_step + t] * outer[32 * t];
        bottom += x[3 * f.row_step + t] * outer[32 * t + 16];
      }
      top += first + second;
      bottom += first - second;
      upper[c] = f.relu && top < 0.F ? 0.F : top;
      lower[c] = f.relu && bottom < 0.F ? 0.F : bottom;
    }
}

template <row_term Term, int Taps>
void pair_product(std::int64_t pairs, std::int64_t pixels, const float* x, std::int64_t x_step, std::int64_t x_pair,
                  const float* upper, const float* lower, std::int64_t channels, std::int64_t pair_step, float* sums) {
  constexpr float of_upper = Term == row_term::lower ? 0.F : 1.F;
  constexpr float of_lower = Term == row_term::upper ? 0.F : Term == row_term::difference ? -1.F : 1.F;
  for (std::int64_t r = 0; r < pairs; ++r)
    for (std::int64_t p = 0; p < pixels; ++p)
      for (std::int64_t c = 0; c < 32; ++c) {
        const std::int64_t at = r * pair_step + p * channels + c;
        const float d = of_upper * upper[at] + of_lower * lower[at];
        for (int t = 0; t < Taps; ++t) sums[t * channels + c] += x[r * x_pair + p * x_step + t] * d;
      }
}

#endif

/// Buffers and code of the forward pass for one geometry.
class winograd_forward {
 public:
  explicit winograd_forward(const convolution_geometry& g)
      : g_(g),
        padded_(g, 1),
        rows_(1, padded_.row_step()),
        weights_(g.weight_size() / 3 * 4),
        bias_(g.out_channels),
        unused_(g.out().height % 2 * g.out().width * g.out_channels) {
    std::fill_n(bias_.data(), bias_.size(), 0.F);
  }

  /// y = relu_if(x * w + b) for `samples` pictures, channels-last; weights in PyTorch's order, b may be null.
  void operator()(std::int64_t samples, const float* x, const float* w, const float* b, float* y) {
    pack(w);
    if (b != nullptr) std::copy_n(b, g_.out_channels, bias_.data());
    const pair_shape shape{.channels = g_.out_channels,
                           .taps = g_.kernel.width * g_.in_channels,
                           .pixel_step = g_.stride.width * g_.in_channels,
                           .row_step = rows_.row_step(),
                           .relu = g_.relu};
    const extent2 out = g_.out();
    const std::int64_t row = out.width * g_.out_channels;
    for (std::int64_t s = 0; s < samples; ++s, x += g_.in_size(), y += g_.out_size()) {
      padded_.load(x);
      for (std::int64_t h = 0; h < out.height; h += 2) {
        rows_.load(0, padded_.under(h, 0));
        float* upper = y + h * row;
        float* lower = h + 1 < out.height ? upper + row : unused_.data();
        each_height<3>(out.width, [&](auto pixels, std::int64_t first, std::int64_t tiles) {
          const std::int64_t at = first * g_.out_channels;
          forward_pairs<pixels>(shape, tiles, rows_.data() + first * shape.pixel_step, weights_.data(), bias_.data(),
                                upper + at, lower + at);
        });
      }
    }
  }

 private:
  /// From PyTorch's (out, in, 3, width) to (out / 16, middle or outer rows, width, in, 2, 16).
  void pack(const float* w) {
    float* to = weights_.data();
    const std::int64_t width = g_.kernel.width;
    const std::int64_t taps = width * g_.in_channels;
    for (std::int64_t c = 0; c < g_.out_channels; c += 16, to += taps * 64)
      for (std::int64_t k = 0; k < width; ++k)
        for (std::int64_t i = 0; i < g_.in_channels; ++i)
          for (std::int64_t o = 0; o < 16; ++o) {
            const float* tap = w + ((c + o) * g_.in_channels + i) * 3 * width + k;
            float* middle = to + (k * g_.in_channels + i) * 32 + o;
            float* outer = middle + taps * 32;
            const float ends = tap[0] + tap[2 * width];
            middle[0] = 0.5F * (ends + tap[width]);
            middle[16] = 0.5F * (ends - tap[width]);
            outer[0] = tap[0];
            outer[16] = tap[2 * width];
          }
  }

  convolution_geometry g_;
  padded_picture padded_;
  winograd_rows rows_;
  aligned_buffer<float> weights_, bias_;
  aligned_buffer<float> unused_;  ///< the row below the last one where their number is odd
};

/// Buffers and code of the weight gradient for one geometry.
class winograd_gradient {
 public:
  explicit winograd_gradient(const convolution_geometry& g)
      : g_(g),
        padded_(g, 1),
        rows_(strip(), padded_.row_step()),
        sums_(g.weight_size() / 3 * 4 + g.out_channels),
        zeros_(g.out().height % 2 * g.out().width * g.out_channels) {
    std::fill_n(zeros_.data(), zeros_.size(), 0.F);
  }

  /// dw and db (+)= the gradients for `samples` pictures, channels-last; db may be null. Weights in PyTorch's order.
  void operator()(std::int64_t samples, const float* x, const float* dy, float* dw, float* db, bool accumulate) {
    std::fill_n(sums_.data(), sums_.size(), 0.F);
    const std::int64_t height = g_.out().height;
    const std::int64_t row = g_.out().width * g_.out_channels;
    for (std::int64_t s = 0; s < samples; ++s, x += g_.in_size(), dy += g_.out_size()) {
      padded_.load(x);
      std::int64_t h = 0;
      for (; h + 1 < height; h += 2 * strip()) {
        const std::int64_t pairs = std::min(strip(), (height - h) / 2);
        strip_product(h, pairs, dy + h * row, dy + (h + 1) * row, db != nullptr);
      }
      if (height % 2 != 0) strip_product(height - 1, 1, dy + (height - 1) * row, zeros_.data(), db != nullptr);
    }
    store(dw, db, accumulate);
  }

 private:
  /// As many pairs of rows at once as leave their gradients, 32 channels wide, in the first-level cache.
  [[nodiscard]] std::int64_t strip() const { return std::max<std::int64_t>(1, 32 / g_.out().width); }

  /// All taps and channels for `pairs` pairs of output rows from row h.
  void strip_product(std::int64_t h, std::int64_t pairs, const float* upper, const float* lower, bool bias) {
    for (std::int64_t p = 0; p < pairs; ++p) rows_.load(p, padded_.under(h + 2 * p, 0));
    const std::int64_t channels = g_.out_channels;
    const std::int64_t width = g_.out().width;
    const std::int64_t plane = g_.kernel.width * g_.in_channels * channels;
    for (std::int64_t c = 0; c < channels; c += 32, upper += 32, lower += 32) {
      float* sums = sums_.data() + c;
      products<row_term::sum>(0, pairs, upper, lower, sums);
      products<row_term::difference>(1, pairs, upper, lower, sums + plane);
      products<row_term::upper>(2, pairs, upper, lower, sums + 2 * plane);
      products<row_term::lower>(3, pairs, upper, lower, sums + 3 * plane);
      if (!bias) continue;
      for (std::int64_t p = 0; p < pairs; ++p) {
        column_sums(width, upper + p * 2 * width * channels, channels, sums + 4 * plane);
        column_sums(width, lower + p * 2 * width * channels, channels, sums + 4 * plane);
      }
    }
  }

  template <row_term Term>
  void products(std::int64_t which, std::int64_t pairs, const float* upper, const float* lower, float* sums) const {
    const std::int64_t width = g_.out().width;
    const std::int64_t channels = g_.out_channels;
    const std::int64_t taps = g_.kernel.width * g_.in_channels;
    const std::int64_t step = g_.stride.width * g_.in_channels;
    const std::int64_t pair = 4 * rows_.row_step();
    const float* x = rows_.data() + which * rows_.row_step();
    std::int64_t t = 0;
    for (; t + 3 <= taps; t += 3)
      pair_product<Term, 3>(pairs, width, x + t, step, pair, upper, lower, channels, 2 * width * channels,
                            sums + t * channels);
    for (; t < taps; ++t)
      pair_product<Term, 1>(pairs, width, x + t, step, pair, upper, lower, channels, 2 * width * channels,
                            sums + t * channels);
  }

  /// From sums (term, width, in, out) to PyTorch's (out, in, 3, width).
  void store(float* dw, float* db, bool accumulate) const {
    const std::int64_t width = g_.kernel.width;
    const std::int64_t plane = width * g_.in_channels * g_.out_channels;
    const auto put = [accumulate](float& to, float value) { to = accumulate ? to + value : value; };
    const float* sum = sums_.data();
    for (std::int64_t k = 0; k < width; ++k)
      for (std::int64_t i = 0; i < g_.in_channels; ++i)
        for (std::int64_t o = 0; o < g_.out_channels; ++o, ++sum) {
          float* tap = dw + (o * g_.in_channels + i) * 3 * width + k;
          const float even = 0.5F * (sum[0] + sum[plane]);
          put(tap[0], even + sum[2 * plane]);
          put(tap[width], 0.5F * (sum[0] - sum[plane]));
          put(tap[2 * width], even + sum[3 * plane]);
        }
    if (db != nullptr)
      for (std::int64_t o = 0; o < g_.out_channels; ++o) put(db[o], sums_.data()[4 * plane + o]);
  }

  convolution_geometry g_;
  padded_picture padded_;
  winograd_rows rows_;
  aligned_buffer<float> sums_;
  aligned_buffer<float> zeros_;  ///< stands for the row below the last one where their number is odd
};

}  // namespace lockstep::cpu_backend::narrow
