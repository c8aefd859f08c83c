// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <algorithm>
#include <cstdint>

#include <lockstep/backend/cpu/simd.hpp>
#include <lockstep/backend/cpu/tiles.hpp>
#include <lockstep/backend/geometry.hpp>
#include <lockstep/core/tensor.hpp>

/// \file
/// A convolution of few input channels, the first layer of most picture networks, where general libraries leave a
/// sixth (forward) to a half (weight gradient) of the machine's speed unused. Forward is a matrix product of pixels x
/// taps and taps x channels, with 6 pixels x 16 channels in registers; the weight gradient one of taps x pixels and
/// pixels x channels, with the pixels of some output rows in the first-level cache and 3 taps x 32 channels in
/// registers.

namespace lockstep::cpu_backend::narrow {

/// True when `convolution_forward` and `weight_gradient` take this convolution: few input channels, 32 output channels
/// or a multiple.
[[nodiscard]] inline bool takes(const convolution_geometry& g) {
  return has_avx2() && g.groups == 1 && g.in_channels <= 4 && g.out_channels % 32 == 0 && g.dilation.width == 1;
}

/// What `forward_pixels` needs besides its operands. Steps are distances in elements of x.
struct forward_shape {
  std::int64_t channels;       ///< output channels, a multiple of 16
  std::int64_t kernel_height;  ///< rows of taps
  std::int64_t taps;           ///< taps of a row, input channels included: they lie close in x
  std::int64_t pixel_step, row_step;
  bool relu;
};

#if LOCKSTEP_X86_64()

/// `tiles` tiles of `Pixels` neighbouring pixels: y = relu_if(b + x w), weights as channels / 16 x taps x 16.
template <int Pixels>
LOCKSTEP_TARGET_AVX2 void forward_pixels(const forward_shape& f, std::int64_t tiles, const float* LOCKSTEP_RESTRICT x,
                                         const float* LOCKSTEP_RESTRICT w, const float* LOCKSTEP_RESTRICT b,
                                         float* LOCKSTEP_RESTRICT y) {
  for (; tiles > 0; --tiles, x += Pixels * f.pixel_step, y += Pixels * f.channels) {
    const float* tap = w;
    for (std::int64_t c = 0; c < f.channels; c += 16) {
      float8 sum[Pixels][2];
#pragma GCC unroll 6
      for (int p = 0; p < Pixels; ++p)
#pragma GCC unroll 2
        for (int v = 0; v < 2; ++v) sum[p][v] = load8(b + c + 8 * v);
      const float* row = x;
      for (std::int64_t h = 0; h < f.kernel_height; ++h, row += f.row_step, tap += f.taps * 16)
        multiply_add(f.taps, row, f.pixel_step, 1, tap, 16, sum);
#pragma GCC unroll 6
      for (int p = 0; p < Pixels; ++p)
#pragma GCC unroll 2
        for (int v = 0; v < 2; ++v) store8(y + p * f.channels + c + 8 * v, f.relu ? relu8(sum[p][v]) : sum[p][v]);
    }
  }
}

/// sums[t][0 .. 32) += sum[t], for taps that lie `channels` apart.
template <int Taps>
LOCKSTEP_TARGET_AVX2 LOCKSTEP_ALWAYS_INLINE void add_sums(const float8 (&sum)[Taps][4], std::int64_t channels,
                                                          float* LOCKSTEP_RESTRICT sums) {
#pragma GCC unroll 4
  for (int t = 0; t < Taps; ++t)
#pragma GCC unroll 4
    for (int k = 0; k < 4; ++k) {
      float* to = sums + t * channels + 8 * k;
      store8(to, load8(to) + sum[t][k]);
    }
}

/// `rows` output rows, `Taps` neighbouring taps, 32 channels: sums[t][c] += sum over pixels of x[pixel][t]
/// dy[pixel][c]. Steps are distances in elements: x between pixels and between rows, dy between pixels (rows follow
/// each other).
template <int Taps>
LOCKSTEP_TARGET_AVX2 inline void row_product(std::int64_t rows, std::int64_t pixels, const float* LOCKSTEP_RESTRICT x,
                                             std::int64_t x_step, std::int64_t x_row, const float* LOCKSTEP_RESTRICT dy,
                                             std::int64_t channels, float* LOCKSTEP_RESTRICT sums) {
  float8 sum[Taps][4] = {};
  for (std::int64_t r = 0; r < rows; ++r) {
    const float* in = x + r * x_row;
    for (std::int64_t p = 0; p < pixels; ++p, in += x_step, dy += channels) {
      // Three broadcast taps, one row vector at a time and twelve sums: exactly the sixteen registers there are.
      float8 v[Taps];
#pragma GCC unroll 4
      for (int t = 0; t < Taps; ++t) v[t] = broadcast8(in[t]);
#pragma GCC unroll 4
      for (int k = 0; k < 4; ++k) {
        float8 d = load8(dy + 8 * k);
        asm("" : "+x"(d));  // one load for three uses; folded into each product it would be three
#pragma GCC unroll 4
        for (int t = 0; t < Taps; ++t) sum[t][k] += d * v[t];
      }
    }
  }
  add_sums(sum, channels, sums);
}

/// sums[c] += sum over the pixels of dy[pixel][c], 32 channels.
LOCKSTEP_TARGET_AVX2 inline void column_sums(std::int64_t pixels, const float* LOCKSTEP_RESTRICT dy,
                                             std::int64_t channels, float* LOCKSTEP_RESTRICT sums) {
  float8 sum[4] = {};
  for (std::int64_t p = 0; p < pixels; ++p, dy += channels)
#pragma GCC unroll 4
    for (int k = 0; k < 4; ++k) sum[k] += load8(dy + 8 * k);
#pragma GCC unroll 4
  for (int k = 0; k < 4; ++k) store8(sums + 8 * k, load8(sums + 8 * k) + sum[k]);
}

#else

template <int Pixels>
void forward_pixels(const forward_shape& f, std::int64_t tiles, const float* x, const float* w, const float* b,
                    float* y) {
  for (std::int64_t p = 0; p < tiles * Pixels; ++p, x += f.pixel_step, y += f.channels)
    for (std::int64_t c = 0; c < f.channels; ++c) {
      const float* tap = w + c / 16 * 16 * f.kernel_height * f.taps + c % 16;
      float sum = b[c];
      for (std::int64_t h = 0; h < f.kernel_height; ++h)
        for (std::int64_t t = 0; t < f.taps; ++t, tap += 16) sum += x[h * f.row_step + t] * *tap;
      y[c] = f.relu && sum < 0.F ? 0.F : sum;
    }
}

template <int Taps>
void row_product(std::int64_t rows, std::int64_t pixels, const float* x, std::int64_t x_step, std::int64_t x_row,
                 const float* dy, std::int64_t channels, float* sums) {
  for (std::int64_t r = 0; r < rows; ++r)
    for (std::int64_t p = 0; p < pixels; ++p, dy += channels)
      for (int t = 0; t < Taps; ++t)
        for (std::int64_t c = 0; c < 32; ++c) sums[t * channels + c] += x[r * x_row + p * x_step + t] * dy[c];
}

inline void column_sums(std::int64_t pixels, const float* dy, std::int64_t channels, float* sums) {
  for (std::int64_t p = 0; p < pixels; ++p, dy += channels)
    for (std::int64_t c = 0; c < 32; ++c) sums[c] += dy[c];
}

#endif

/// One picture at a time in a frame of zeros, as wide as the padding.
class padded_picture {
 public:
  /// `spare_rows` more rows of zeros lie below the frame.
  explicit padded_picture(const convolution_geometry& g, std::int64_t spare_rows = 0)
      : g_(g),
        row_((g.in.width + 2 * g.padding.width) * g.in_channels),
        values_((g.in.height + 2 * g.padding.height + spare_rows) * row_) {
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
  void operator()(std::int64_t samples, const float* x, const float* w, const float* b, float* y) {
    pack(w);
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
          forward_pixels<pixels>(shape, tiles, padded_.under(row, 0) + first * shape.pixel_step, weights_.data(),
                                 bias_.data(), y + first * g_.out_channels);
        });
    }
  }

 private:
  /// From PyTorch's (out, in, height, width) to (out / 16, height, width, in, 16).
  void pack(const float* w) {
    float* to = weights_.data();
    const std::int64_t area = g_.kernel.height * g_.kernel.width;
    for (std::int64_t c = 0; c < g_.out_channels; c += 16)
      for (std::int64_t k = 0; k < area; ++k)
        for (std::int64_t i = 0; i < g_.in_channels; ++i)
          for (std::int64_t o = c; o < c + 16; ++o) *to++ = w[(o * g_.in_channels + i) * area + k];
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
  void operator()(std::int64_t samples, const float* x, const float* dy, float* dw, float* db, bool accumulate) {
    std::fill_n(sums_.data(), sums_.size(), 0.F);
    const extent2 out = g_.out();
    for (std::int64_t s = 0; s < samples; ++s, x += g_.in_size(), dy += g_.out_size()) {
      padded_.load(x);
      // As many rows at once as leave their gradients, 32 channels wide, in the first-level cache.
      const std::int64_t strip = std::max<std::int64_t>(1, 128 / out.width);
      for (std::int64_t row = 0; row < out.height; row += strip)
        for (std::int64_t c = 0; c < g_.out_channels; c += 32)
          strip_product(row, std::min(strip, out.height - row), c, dy + row * out.width * g_.out_channels + c,
                        db != nullptr);
    }
    store(dw, db, accumulate);
  }

 private:
  /// All taps for output rows [row, row + rows) and channels [c, c + 32).
  void strip_product(std::int64_t row, std::int64_t rows, std::int64_t c, const float* dy, bool bias) {
    const std::int64_t width = g_.out().width;
    const std::int64_t channels = g_.out_channels;
    const std::int64_t taps = g_.kernel.width * g_.in_channels;
    const std::int64_t step = g_.stride.width * g_.in_channels;
    float* sums = sums_.data() + c;
    for (std::int64_t kh = 0; kh < g_.kernel.height; ++kh) {
      const float* x = padded_.under(row, kh);
      const std::int64_t x_row = g_.stride.height * padded_.row_step();
      std::int64_t t = 0;
      for (; t + 3 <= taps; t += 3, sums += 3 * channels)
        row_product<3>(rows, width, x + t, step, x_row, dy, channels, sums);
      for (; t < taps; ++t, sums += channels) row_product<1>(rows, width, x + t, step, x_row, dy, channels, sums);
    }
    if (bias) column_sums(rows * width, dy, channels, sums);
  }

  /// From (height, width, in, out) to PyTorch's (out, in, height, width).
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
