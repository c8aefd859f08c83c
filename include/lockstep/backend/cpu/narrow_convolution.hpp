// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <algorithm>
#include <cstdint>
#include <type_traits>

#include <lockstep/backend/cpu/array.hpp>
#include <lockstep/backend/cpu/simd.hpp>
#include <lockstep/backend/cpu/tiles.hpp>
#include <lockstep/backend/geometry.hpp>
#include <lockstep/core/tensor.hpp>

/// \file
/// Convolutions of few input channels, as in the first layer of most picture networks. General libraries leave a sixth
/// (forward) to a half (weight gradient) of the machine's speed unused on them. The forward pass multiplies pixels x
/// taps by taps x channels, with 6 pixels x two vectors of channels in registers. The weight gradient multiplies taps x
/// pixels by pixels x channels, with the pixels of some output rows in the first-level cache and 3 or 9 taps x 32
/// channels in registers.

namespace lockstep::cpu_backend::narrow {

/// True when `convolution_forward` and `weight_gradient` take this convolution: at most 4 input channels, a multiple of
/// 32 output channels, one group, no dilation along rows.
[[nodiscard]] inline bool takes(const convolution_geometry& g) {
  return has_avx2() && g.groups == 1 && g.in_channels <= 4 && g.out_channels % 32 == 0 && g.dilation.width == 1;
}

/// The shape of the product of `forward_pixels`. Steps are distances in elements of x.
struct forward_shape {
  std::int64_t channels;       ///< output channels, a multiple of 32
  std::int64_t kernel_height;  ///< rows of taps
  std::int64_t taps;           ///< taps of a row times input channels, contiguous in x
  std::int64_t pixel_step, row_step;
  bool relu;
};

/// Output channels of a tile of the forward pass: two vectors.
template <class V>
inline constexpr std::int64_t block_channels = 2 * lanes<V>;

/// Stores the sums of neighbouring pixels, after a relu if `rectify`.
template <class V, int Pixels>
LOCKSTEP_ALWAYS_INLINE void store_pixels(bool rectify, matrix_of<V, Pixels, 2>& sum, float* LOCKSTEP_RESTRICT y,
                                         std::int64_t channels) {
  if (rectify)
#pragma GCC unroll 6
    for (int p = 0; p < Pixels; ++p)
#pragma GCC unroll 2
      for (int v = 0; v < 2; ++v) relu(sum[p][v]);
#pragma GCC unroll 6
  for (int p = 0; p < Pixels; ++p)
#pragma GCC unroll 2
    for (int v = 0; v < 2; ++v) store(y + p * channels + lanes<V> * v, sum[p][v]);
}

/// `tiles` tiles of `Pixels` neighbouring pixels: y = relu_if(b + x w), weights as channels / block x taps x block.
template <int Pixels>
struct forward_pixels {
  template <class V>
  static LOCKSTEP_ALWAYS_INLINE void run(const forward_shape& f, std::int64_t tiles, const float* LOCKSTEP_RESTRICT x,
                                         const float* LOCKSTEP_RESTRICT w, const float* LOCKSTEP_RESTRICT b,
                                         float* LOCKSTEP_RESTRICT y) {
    constexpr std::int64_t block = block_channels<V>;
    for (; tiles > 0; --tiles, x += Pixels * f.pixel_step, y += Pixels * f.channels) {
      const float* tap = w;
      for (std::int64_t c = 0; c < f.channels; c += block) {
        matrix_of<V, Pixels, 2> sum;
#pragma GCC unroll 6
        for (int p = 0; p < Pixels; ++p)
#pragma GCC unroll 2
          for (int v = 0; v < 2; ++v) load(sum[p][v], b + c + lanes<V> * v);
        const float* row = x;
        for (std::int64_t h = 0; h < f.kernel_height; ++h, row += f.row_step, tap += f.taps * block)
          multiply_add<V, Pixels, 2>(f.taps, row, f.pixel_step, 1, tap, block, lanes<V>, sum);
        store_pixels<V, Pixels>(f.relu, sum, y + c, f.channels);
      }
    }
  }
};

/// Output channels of a tile of the weight gradient.
inline constexpr std::int64_t gradient_channels = 32;

/// The shape of the product of `row_product`. Distances are in elements: `_step` from pixel to pixel, `_row` from row
/// to row.
struct product_shape {
  std::int64_t rows, pixels;
  std::int64_t x_step, x_row;
  std::int64_t dy_step, dy_row;
  std::int64_t channels;  ///< distance from the sums of a tap to those of the next
};

/// `Taps` neighbouring taps, 32 channels: sums[t][c] += sum over rows and pixels of x[pixel][t] dy[pixel][c].
template <int Taps>
struct row_product {
  template <class V>
  static LOCKSTEP_ALWAYS_INLINE void run(const product_shape& f, const float* LOCKSTEP_RESTRICT x,
                                         const float* LOCKSTEP_RESTRICT dy, float* LOCKSTEP_RESTRICT sums) {
    constexpr int vectors = gradient_channels / lanes<V>;
    matrix_of<V, Taps, vectors> sum = {};
    for (std::int64_t r = 0; r < f.rows; ++r) {
      const float* in = x + r * f.x_row;
      const float* d = dy + r * f.dy_row;
      for (std::int64_t p = 0; p < f.pixels; ++p, in += f.x_step, d += f.dy_step) {
        if constexpr (Taps <= vectors) {
          // The taps stay in registers and the vectors come one by one: with three taps this fills exactly sixteen
          // registers.
          array_of<V, Taps> v;
#pragma GCC unroll 4
          for (int t = 0; t < Taps; ++t) {
            V value;
            broadcast(value, in[t]);
            v[t] = value;
          }
#pragma GCC unroll 4
          for (int k = 0; k < vectors; ++k) {
            V g;
            load(g, d + lanes<V> * k);
            LOCKSTEP_IN_REGISTER(g);
#pragma GCC unroll 4
            for (int t = 0; t < Taps; ++t) sum[t][k] += g * v[t];
          }
        } else {
          multiply_add<V, Taps, vectors>(1, in, 1, 0, d, 1, lanes<V>, sum);
        }
      }
    }
#pragma GCC unroll 9
    for (int t = 0; t < Taps; ++t)
#pragma GCC unroll 4
      for (int k = 0; k < vectors; ++k) {
        float* to = sums + t * f.channels + lanes<V> * k;
        add_from(sum[t][k], to);
        store(to, sum[t][k]);
      }
  }
};

/// sums[c] += sum over rows and pixels of dy[pixel][c], 32 channels.
struct column_sums {
  template <class V>
  static LOCKSTEP_ALWAYS_INLINE void run(const product_shape& f, const float* LOCKSTEP_RESTRICT dy,
                                         float* LOCKSTEP_RESTRICT sums) {
    constexpr int vectors = gradient_channels / lanes<V>;
    // Sums from zero, so that a call adds its few summands precisely, however many pixels there are in all.
    array_of<V, vectors> sum = {};
    for (std::int64_t r = 0; r < f.rows; ++r) {
      const float* d = dy + r * f.dy_row;
      for (std::int64_t p = 0; p < f.pixels; ++p, d += f.dy_step)
#pragma GCC unroll 4
        for (int k = 0; k < vectors; ++k) add_from(sum[k], d + lanes<V> * k);
    }
#pragma GCC unroll 4
    for (int k = 0; k < vectors; ++k) {
      add_from(sum[k], sums + lanes<V> * k);
      store(sums + lanes<V> * k, sum[k]);
    }
  }
};

/// The products of all `taps` taps of a row of the kernel. x and sums point to the values of the first tap.
template <class V>
void tap_products(const product_shape& f, std::int64_t taps, const float* x, const float* dy, float* sums) {
  std::int64_t t = 0;
  const auto run = [&]<int Taps>(std::integral_constant<int, Taps>) {
    for (; t + Taps <= taps; t += Taps) run_for<V, row_product<Taps>>(f, x + t, dy, sums + t * f.channels);
  };
  // Sums of nine taps by two vectors of 16 lanes, or of three taps by four vectors of 8, leave registers for the
  // operands.
  if constexpr (lanes<V> == 16) run(std::integral_constant<int, 9>{});
  run(std::integral_constant<int, 3>{});
  run(std::integral_constant<int, 1>{});
}

/// One picture at a time in a frame of zeros as wide as the padding, followed by a vector of zeros.
class padded_picture {
 public:
  /// `spare_rows` more rows of zeros lie below the frame.
  explicit padded_picture(const convolution_geometry& g, std::int64_t spare_rows = 0)
      : g_(g),
        row_((g.in.width + 2 * g.padding.width) * g.in_channels),
        values_((g.in.height + 2 * g.padding.height + spare_rows) * row_ + lanes<float_x16>) {
    std::fill_n(values_.data(), values_.size(), 0.F);
  }

  /// Copies one picture, channels-last, into the middle of the frame.
  void load(const float* x) {
    const std::int64_t width = g_.in.width * g_.in_channels;
    for (std::int64_t h = 0; h < g_.in.height; ++h)
      std::copy_n(x + h * width, width,
                  values_.data() + (h + g_.padding.height) * row_ + g_.padding.width * g_.in_channels);
  }

  /// The first element under the kernel's row `kernel_row` for output row `row`.
  [[nodiscard]] const float* under(std::int64_t row, std::int64_t kernel_row) const {
    return values_.data() + (row * g_.stride.height + kernel_row * g_.dilation.height) * row_;
  }

  /// Elements from one row to the next.
  [[nodiscard]] std::int64_t row_step() const { return row_; }

 private:
  convolution_geometry g_;
  std::int64_t row_;
  aligned_buffer<float> values_;
};

/// Buffers and code of the forward pass for one geometry.
class convolution_forward {
 public:
  explicit convolution_forward(const convolution_geometry& g)
      : g_(g), padded_(g), weights_(g.weight_size()), bias_(g.out_channels) {
    std::fill_n(bias_.data(), bias_.size(), 0.F);
  }

  /// y = relu_if(x * w + b) for `samples` pictures, channels-last; weights in PyTorch's order, b may be null.
  template <class V>
  void run(std::int64_t samples, const float* x, const float* w, const float* b, float* y) {
    pack(w, block_channels<V>);
    if (b != nullptr) std::copy_n(b, g_.out_channels, bias_.data());
    const forward_shape shape{.channels = g_.out_channels,
                              .kernel_height = g_.kernel.height,
                              .taps = g_.kernel.width * g_.in_channels,
                              .pixel_step = g_.stride.width * g_.in_channels,
                              .row_step = g_.dilation.height * padded_.row_step(),
                              .relu = g_.relu};
    const extent2 out = g_.out();
    for (std::int64_t s = 0; s < samples; ++s, x += g_.in_size()) {
      padded_.load(x);
      for (std::int64_t row = 0; row < out.height; ++row, y += out.width * g_.out_channels)
        each_height<6>(out.width, [&](auto pixels, std::int64_t first, std::int64_t tiles) {
          run_for<V, forward_pixels<pixels>>(shape, tiles, padded_.under(row, 0) + first * shape.pixel_step,
                                             weights_.data(), bias_.data(), y + first * g_.out_channels);
        });
    }
  }

 private:
  /// Copies weights from PyTorch's (out, in, height, width) to (out / block, height, width, in, block).
  void pack(const float* w, std::int64_t block) {
    float* to = weights_.data();
    const std::int64_t area = g_.kernel.height * g_.kernel.width;
    for (std::int64_t c = 0; c < g_.out_channels; c += block)
      for (std::int64_t k = 0; k < area; ++k)
        for (std::int64_t i = 0; i < g_.in_channels; ++i)
          for (std::int64_t o = c; o < c + block; ++o) *to++ = w[(o * g_.in_channels + i) * area + k];
  }

  convolution_geometry g_;
  padded_picture padded_;
  aligned_buffer<float> weights_, bias_;
};

/// Buffers and code of the weight gradient for one geometry.
class weight_gradient {
 public:
  explicit weight_gradient(const convolution_geometry& g)
      : g_(g), padded_(g), sums_(g.weight_size() + g.out_channels) {}

  /// dw and db (+)= the gradients for `samples` pictures, channels-last; db may be null. Weights in PyTorch's order.
  template <class V>
  void run(std::int64_t samples, const float* x, const float* dy, float* dw, float* db, bool accumulate) {
    std::fill_n(sums_.data(), sums_.size(), 0.F);
    const extent2 out = g_.out();
    for (std::int64_t s = 0; s < samples; ++s, x += g_.in_size(), dy += g_.out_size()) {
      padded_.load(x);
      // As many rows at once as have gradients, 32 channels wide, that fit the first-level cache.
      const std::int64_t strip = std::max<std::int64_t>(1, 128 / out.width);
      for (std::int64_t row = 0; row < out.height; row += strip)
        for (std::int64_t c = 0; c < g_.out_channels; c += gradient_channels)
          strip_product<V>(row, (std::min)(strip, out.height - row), c, dy + row * out.width * g_.out_channels + c,
                           db != nullptr);
    }
    store(dw, db, accumulate);
  }

 private:
  /// All taps for output rows [row, row + rows) and channels [c, c + 32).
  template <class V>
  void strip_product(std::int64_t row, std::int64_t rows, std::int64_t c, const float* dy, bool bias) {
    const std::int64_t channels = g_.out_channels;
    const std::int64_t taps = g_.kernel.width * g_.in_channels;
    const product_shape shape{.rows = rows,
                              .pixels = g_.out().width,
                              .x_step = g_.stride.width * g_.in_channels,
                              .x_row = g_.stride.height * padded_.row_step(),
                              .dy_step = channels,
                              .dy_row = g_.out().width * channels,
                              .channels = channels};
    float* sums = sums_.data() + c;
    for (std::int64_t kh = 0; kh < g_.kernel.height; ++kh, sums += taps * channels)
      tap_products<V>(shape, taps, padded_.under(row, kh), dy, sums);
    if (bias) run_for<V, column_sums>(shape, dy, sums);
  }

  /// Copies or adds the sums from (height, width, in, out) to PyTorch's (out, in, height, width).
  void store(float* dw, float* db, bool accumulate) const {
    const float* sum = sums_.data();
    for (std::int64_t kh = 0; kh < g_.kernel.height; ++kh)
      for (std::int64_t kw = 0; kw < g_.kernel.width; ++kw)
        for (std::int64_t i = 0; i < g_.in_channels; ++i)
          for (std::int64_t o = 0; o < g_.out_channels; ++o, ++sum) {
            float& to = dw[((o * g_.in_channels + i) * g_.kernel.height + kh) * g_.kernel.width + kw];
            to = accumulate ? to + *sum : *sum;
          }
    if (db != nullptr)
      for (std::int64_t o = 0; o < g_.out_channels; ++o, ++sum) db[o] = accumulate ? db[o] + *sum : *sum;
  }

  convolution_geometry g_;
  padded_picture padded_;
  aligned_buffer<float> sums_;
};

}  // namespace lockstep::cpu_backend::narrow
