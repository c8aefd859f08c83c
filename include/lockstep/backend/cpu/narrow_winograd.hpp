// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <algorithm>
#include <cstdint>

#include <lockstep/backend/cpu/array.hpp>
#include <lockstep/backend/cpu/narrow_convolution.hpp>
#include <lockstep/backend/cpu/simd.hpp>
#include <lockstep/backend/cpu/tiles.hpp>
#include <lockstep/backend/geometry.hpp>
#include <lockstep/core/tensor.hpp>

/// \file
/// The convolutions of narrow_convolution.hpp whose kernel has three rows, with a third fewer multiplications: two
/// output rows are computed at once from four rows of sums and differences of the picture (S. Winograd's F(2, 3) down
/// the columns, and its transpose F(3, 2) for the weight gradient; A. Lavin and S. Gray, Fast Algorithms for
/// Convolutional Neural Networks, CVPR 2016). With rows d0 to d3 of the picture and g0 to g2 of the kernel,
///
///     m0 = (d1 + d2) (g0 + g1 + g2) / 2     y0 = m0 + m1 + (d0 - d2) g0
///     m1 = (d2 - d1) (g0 - g1 + g2) / 2     y1 = m0 - m1 + (d3 - d1) g2
///
/// where a product stands for all taps of a row. Both rows are completed in the registers that held m0 and m1, so that
/// nothing is stored in between. All factors are 1 or 1/2, so that rounding errors grow by only about a fifth.

namespace lockstep::cpu_backend::narrow {

/// True when `winograd_forward` and `winograd_gradient` take this convolution.
[[nodiscard]] inline bool takes_winograd(const convolution_geometry& g) {
  return takes(g) && g.kernel.height == 3 && g.stride.height == 1 && g.dilation.height == 1 && g.out().height > 1;
}

/// Computes the four rows of one pair from a padded picture's row `d` and the three that follow, `from_row` apart.
/// Works in whole vectors, which read and write past a row's end values that nothing uses.
struct make_pair_rows {
  template <class V>
  static LOCKSTEP_ALWAYS_INLINE void run(const float* LOCKSTEP_RESTRICT d, std::int64_t from_row,
                                         float* LOCKSTEP_RESTRICT to, std::int64_t to_row) {
    for (std::int64_t i = 0; i < from_row; i += lanes<V>) {
      V d0, d1, d2, d3;
      load(d0, d + i);
      load(d1, d + from_row + i);
      load(d2, d + 2 * from_row + i);
      load(d3, d + 3 * from_row + i);
      store(to + i, d1 + d2);
      store(to + to_row + i, d2 - d1);
      store(to + 2 * to_row + i, d0 - d2);
      store(to + 3 * to_row + i, d3 - d1);
    }
  }
};

/// The four rows that each pair of output rows reads: (d1 + d2), (d2 - d1), (d0 - d2), (d3 - d1).
class winograd_rows {
 public:
  /// For padded rows of `row` elements.
  explicit winograd_rows(std::int64_t pairs, std::int64_t row)
      : from_(row), row_((row + widest - 1) / widest * widest), values_(pairs * 4 * row_) {}

  /// Fills the rows of pair `pair` from the padded picture's row `d` and the three that follow.
  template <class V>
  void load(std::int64_t pair, const float* d) {
    run_for<V, make_pair_rows>(d, from_, values_.data() + pair * 4 * row_, row_);
  }

  [[nodiscard]] const float* data() const { return values_.data(); }
  /// Elements from one of the four rows to the next; pairs lie four times as far apart.
  [[nodiscard]] std::int64_t row_step() const { return row_; }

 private:
  static constexpr std::int64_t widest = lanes<float_x16>;

  std::int64_t from_, row_;
  aligned_buffer<float> values_;
};

/// The shape of the product of `forward_pairs`. Steps are distances in elements of x.
struct pair_shape {
  std::int64_t channels;  ///< output channels, a multiple of 32
  std::int64_t taps;      ///< taps of a row times input channels, contiguous in x
  std::int64_t pixel_step, row_step;
  bool relu;
};

/// Most pixels of a tile of `forward_pairs`: their sums, two rows by two vectors, leave registers for the operands.
template <class V>
inline constexpr int most_pair_pixels = lanes<V> == 16 ? 4 : 3;

/// `tiles` tiles of `Pixels` neighbouring pixels in two output rows: y = relu_if(b + x w). x holds the rows of
/// `winograd_rows`; weights are channels / block x 2 (middle, outer rows) x taps x 2 x block.
template <int Pixels>
struct forward_pairs {
  template <class V>
  static LOCKSTEP_ALWAYS_INLINE void run(const pair_shape& f, std::int64_t tiles, const float* LOCKSTEP_RESTRICT x,
                                         const float* LOCKSTEP_RESTRICT w, const float* LOCKSTEP_RESTRICT b,
                                         float* LOCKSTEP_RESTRICT upper, float* LOCKSTEP_RESTRICT lower) {
    constexpr std::int64_t block = block_channels<V>;
    for (; tiles > 0; --tiles, x += Pixels * f.pixel_step, upper += Pixels * f.channels, lower += Pixels * f.channels) {
      const float* LOCKSTEP_RESTRICT tap = w;
      for (std::int64_t c = 0; c < f.channels; c += block, tap += f.taps * 4 * block) {
        matrix_of<V, Pixels, 2> first;
        matrix_of<V, Pixels, 2> second = {};
#pragma GCC unroll 4
        for (int p = 0; p < Pixels; ++p)
#pragma GCC unroll 2
          for (int v = 0; v < 2; ++v) load(first[p][v], b + c + lanes<V> * v);
        multiply_add_rows<V>(f, x, tap, first, second);
#pragma GCC unroll 4
        for (int p = 0; p < Pixels; ++p)
#pragma GCC unroll 2
          for (int v = 0; v < 2; ++v) {
            const V difference = first[p][v] - second[p][v];
            first[p][v] += second[p][v];
            second[p][v] = difference;
          }
        multiply_add_rows<V>(f, x + 2 * f.row_step, tap + f.taps * 2 * block, first, second);
        store_pixels<V, Pixels>(f.relu, first, upper + c, f.channels);
        store_pixels<V, Pixels>(f.relu, second, lower + c, f.channels);
      }
    }
  }

 private:
  /// a[p][:] += x's first row * w's even rows, b[p][:] += x's second row * w's odd rows.
  template <class V>
  static LOCKSTEP_ALWAYS_INLINE void multiply_add_rows(const pair_shape& f, const float* LOCKSTEP_RESTRICT x,
                                                       const float* LOCKSTEP_RESTRICT w, matrix_of<V, Pixels, 2>& a,
                                                       matrix_of<V, Pixels, 2>& b) {
    constexpr std::int64_t block = block_channels<V>;
    const float* LOCKSTEP_RESTRICT second = x + f.row_step;
    for (const float* end = w + f.taps * 2 * block; w != end; w += 2 * block, ++x, ++second) {
      multiply_add<V, Pixels, 2>(1, x, f.pixel_step, 0, w, block, lanes<V>, a);
      multiply_add<V, Pixels, 2>(1, second, f.pixel_step, 0, w + block, block, lanes<V>, b);
    }
  }
};

/// Sums and differences of the gradients of two output rows, 32 channels: sum and difference are pixels x 32.
struct combine_rows {
  template <class V>
  static LOCKSTEP_ALWAYS_INLINE void run(std::int64_t pixels, std::int64_t channels,
                                         const float* LOCKSTEP_RESTRICT upper, const float* LOCKSTEP_RESTRICT lower,
                                         float* LOCKSTEP_RESTRICT sum, float* LOCKSTEP_RESTRICT difference) {
    for (std::int64_t p = 0; p < pixels; ++p)
#pragma GCC unroll 4
      for (std::int64_t c = 0; c < gradient_channels; c += lanes<V>) {
        V up, low;
        load(up, upper + p * channels + c);
        load(low, lower + p * channels + c);
        store(sum + p * gradient_channels + c, up + low);
        store(difference + p * gradient_channels + c, up - low);
      }
  }
};

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
  template <class V>
  void run(std::int64_t samples, const float* x, const float* w, const float* b, float* y) {
    pack(w, block_channels<V>);
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
        rows_.load<V>(0, padded_.under(h, 0));
        float* upper = y + h * row;
        float* lower = h + 1 < out.height ? upper + row : unused_.data();
        each_height<most_pair_pixels<V>>(out.width, [&](auto pixels, std::int64_t first, std::int64_t tiles) {
          const std::int64_t at = first * g_.out_channels;
          run_for<V, forward_pairs<pixels>>(shape, tiles, rows_.data() + first * shape.pixel_step, weights_.data(),
                                            bias_.data(), upper + at, lower + at);
        });
      }
    }
  }

 private:
  /// Transforms weights from PyTorch's (out, in, 3, width) to (out / block, middle or outer rows, width, in, 2, block).
  void pack(const float* w, std::int64_t block) {
    float* to = weights_.data();
    const std::int64_t width = g_.kernel.width;
    const std::int64_t taps = width * g_.in_channels;
    for (std::int64_t c = 0; c < g_.out_channels; c += block, to += taps * 4 * block)
      for (std::int64_t k = 0; k < width; ++k)
        for (std::int64_t i = 0; i < g_.in_channels; ++i)
          for (std::int64_t o = 0; o < block; ++o) {
            const float* tap = w + ((c + o) * g_.in_channels + i) * 3 * width + k;
            float* middle = to + (k * g_.in_channels + i) * 2 * block + o;
            float* outer = middle + taps * 2 * block;
            const float ends = tap[0] + tap[2 * width];
            middle[0] = 0.5F * (ends + tap[width]);
            middle[block] = 0.5F * (ends - tap[width]);
            outer[0] = tap[0];
            outer[block] = tap[2 * width];
          }
  }

  convolution_geometry g_;
  padded_picture padded_;
  winograd_rows rows_;
  aligned_buffer<float> weights_, bias_;
  aligned_buffer<float> unused_;  ///< the row below the last one when the number of rows is odd
};

/// Buffers and code of the weight gradient for one geometry.
class winograd_gradient {
 public:
  explicit winograd_gradient(const convolution_geometry& g)
      : g_(g),
        padded_(g, 1),
        rows_(strip(), padded_.row_step()),
        sums_(g.weight_size() / 3 * 4 + g.out_channels),
        combined_(2 * strip() * g.out().width * gradient_channels),
        zeros_(g.out().height % 2 * g.out().width * g.out_channels) {
    std::fill_n(zeros_.data(), zeros_.size(), 0.F);
  }

  /// dw and db (+)= the gradients for `samples` pictures, channels-last; db may be null. Weights in PyTorch's order.
  template <class V>
  void run(std::int64_t samples, const float* x, const float* dy, float* dw, float* db, bool accumulate) {
    std::fill_n(sums_.data(), sums_.size(), 0.F);
    const std::int64_t height = g_.out().height;
    const std::int64_t row = g_.out().width * g_.out_channels;
    for (std::int64_t s = 0; s < samples; ++s, x += g_.in_size(), dy += g_.out_size()) {
      padded_.load(x);
      std::int64_t h = 0;
      for (; h + 1 < height; h += 2 * strip()) {
        const std::int64_t pairs = (std::min)(strip(), (height - h) / 2);
        strip_product<V>(h, pairs, dy + h * row, dy + (h + 1) * row, db != nullptr);
      }
      if (height % 2 != 0) strip_product<V>(height - 1, 1, dy + (height - 1) * row, zeros_.data(), db != nullptr);
    }
    store(dw, db, accumulate);
  }

 private:
  /// As many pairs of rows at once as have gradients, 32 channels wide, that fit the first-level cache.
  [[nodiscard]] std::int64_t strip() const { return std::max<std::int64_t>(1, 32 / g_.out().width); }

  /// All taps and channels for `pairs` pairs of output rows from row h.
  template <class V>
  void strip_product(std::int64_t h, std::int64_t pairs, const float* upper, const float* lower, bool bias) {
    for (std::int64_t p = 0; p < pairs; ++p) rows_.load<V>(p, padded_.under(h + 2 * p, 0));
    const std::int64_t channels = g_.out_channels;
    const std::int64_t width = g_.out().width;
    const std::int64_t taps = g_.kernel.width * g_.in_channels;
    const product_shape plain{.rows = pairs,
                              .pixels = width,
                              .x_step = g_.stride.width * g_.in_channels,
                              .x_row = 4 * rows_.row_step(),
                              .dy_step = channels,
                              .dy_row = 2 * width * channels,
                              .channels = channels};
    product_shape combined = plain;
    combined.dy_step = gradient_channels;
    combined.dy_row = width * gradient_channels;
    float* sum = combined_.data();
    float* difference = sum + strip() * combined.dy_row;
    for (std::int64_t c = 0; c < channels; c += gradient_channels) {
      for (std::int64_t p = 0; p < pairs; ++p)
        run_for<V, combine_rows>(width, channels, upper + c + p * plain.dy_row, lower + c + p * plain.dy_row,
                                 sum + p * combined.dy_row, difference + p * combined.dy_row);
      float* sums = sums_.data() + c;
      const auto products = [&](const product_shape& shape, const float* x, const float* dy) {
        tap_products<V>(shape, taps, x, dy, sums);
        sums += taps * channels;
      };
      products(combined, rows_.data(), sum);
      products(combined, rows_.data() + rows_.row_step(), difference);
      products(plain, rows_.data() + 2 * rows_.row_step(), upper + c);
      products(plain, rows_.data() + 3 * rows_.row_step(), lower + c);
      if (bias) run_for<V, column_sums>(combined, sum, sums);
    }
  }

  /// Transforms the sums (term, width, in, out) back and copies or adds them to PyTorch's (out, in, 3, width).
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
  aligned_buffer<float> combined_;  ///< sums of the gradients of a strip's pairs of rows, then their differences
  aligned_buffer<float> zeros_;     ///< stands for the row below the last one when the number of rows is odd
};

}  // namespace lockstep::cpu_backend::narrow
