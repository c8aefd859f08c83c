// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <algorithm>
#include <cstdint>

#include <lockstep/backend/cpu/simd.hpp>
#include <lockstep/backend/geometry.hpp>
#include <lockstep/core/tensor.hpp>

/// \file
/// The weight gradient of a convolution of few input channels, the first layer of most picture networks, where
/// general libraries reach half of the machine's speed. As a matrix product: taps x pixels times pixels x channels,
/// with the pixels of one output row held in the first-level cache and 3 taps x 32 channels in registers.

namespace lockstep::cpu_backend::narrow {

/// True when `weight_gradient` takes this convolution: few input channels, 32 output channels or a multiple.
[[nodiscard]] inline bool takes(const convolution_geometry& g) {
  return has_avx2() && g.groups == 1 && g.in_channels <= 4 && g.out_channels % 32 == 0 && g.dilation.width == 1;
}

#if LOCKSTEP_X86_64()

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
#pragma GCC unroll 4
  for (int t = 0; t < Taps; ++t)
#pragma GCC unroll 4
    for (int k = 0; k < 4; ++k) {
      float* to = sums + t * channels + 8 * k;
      store8(to, load8(to) + sum[t][k]);
    }
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

/// Buffers and code of the weight gradient for one geometry.
class weight_gradient {
 public:
  explicit weight_gradient(const convolution_geometry& g)
      : g_(g),
        padded_row_((g.in.width + 2 * g.padding.width) * g.in_channels),
        padded_((g.in.height + 2 * g.padding.height) * padded_row_),
        sums_(g.weight_size() + g.out_channels) {}

  /// dw and db (+)= the gradients for `samples` pictures, channels-last; db may be null. Weights in PyTorch's order.
  void operator()(std::int64_t samples, const float* x, const float* dy, float* dw, float* db, bool accumulate) {
    std::fill_n(sums_.data(), sums_.size(), 0.F);
    const extent2 out = g_.out();
    for (std::int64_t s = 0; s < samples; ++s, x += g_.in_size(), dy += g_.out_size()) {
      pad(x);
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
      const float* x = padded_.data() + (row * g_.stride.height + kh * g_.dilation.height) * padded_row_;
      const std::int64_t x_row = g_.stride.height * padded_row_;
      std::int64_t t = 0;
      for (; t + 3 <= taps; t += 3, sums += 3 * channels)
        row_product<3>(rows, width, x + t, step, x_row, dy, channels, sums);
      for (; t < taps; ++t, sums += channels) row_product<1>(rows, width, x + t, step, x_row, dy, channels, sums);
    }
    if (bias) column_sums(rows * width, dy, channels, sums);
  }

  /// Copies one picture into the middle of the zero-filled frame.
  void pad(const float* x) {
    const std::int64_t width = g_.in.width * g_.in_channels;
    for (std::int64_t h = 0; h < g_.in.height; ++h)
      std::copy_n(x + h * width, width,
                  padded_.data() + (h + g_.padding.height) * padded_row_ + g_.padding.width * g_.in_channels);
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
  std::int64_t padded_row_;
  aligned_buffer<float> padded_, sums_;
};

}  // namespace lockstep::cpu_backend::narrow
