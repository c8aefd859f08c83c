// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <lockstep/core/config.hpp>

#include <algorithm>
#include <cstdint>

#include <lockstep/backend/cpu/array.hpp>
#include <lockstep/backend/cpu/few_channels/shape.hpp>
#include <lockstep/backend/cpu/simd.hpp>
#include <lockstep/backend/geometry.hpp>
#include <lockstep/core/tensor.hpp>

namespace lockstep::cpu_backend::few_channels {

/// Floats of a kernel's row times the input channels, filled up to vectors of any width.
template <convolution_geometry G>
inline constexpr std::int64_t row_room = (shape<G>::row_taps + 15) / 16 * 16;

/// The gradient of a picture, in its frame: adds what each output pixel gives to the pixels under its kernel, a row of
/// the kernel at a time. The frame, which starts as zeros, is followed by room for a vector.
template <convolution_geometry G>
struct scatter_gradients {
  /// dy is pixels x output channels; w is output channels x kernel rows x row_room.
  template <class V>
  static LOCKSTEP_ALWAYS_INLINE void run(const float* LOCKSTEP_RESTRICT dy, const float* LOCKSTEP_RESTRICT w,
                                         float* LOCKSTEP_RESTRICT frame) {
    constexpr std::int64_t width = G.out().width;
    constexpr int pixels = lanes<V> == 16 ? (width % 2 == 0 ? 2 : 1) : 1;
    for (std::int64_t h = 0; h < G.out().height; ++h, frame += shape<G>::frame_row)
      for (std::int64_t p = 0; p < width; p += pixels, dy += pixels * G.out_channels)
        scatter<V, pixels>(dy, w, frame + p * G.in_channels);
  }

 private:
  template <class V, int Pixels>
  static LOCKSTEP_ALWAYS_INLINE void scatter(const float* LOCKSTEP_RESTRICT dy, const float* LOCKSTEP_RESTRICT w,
                                             float* LOCKSTEP_RESTRICT to) {
    constexpr int vectors = static_cast<int>((shape<G>::row_taps + lanes<V> - 1) / lanes<V>);
    constexpr int most = (lanes<V> == 16 ? 24 : 12) / (vectors * Pixels);
    constexpr int height = static_cast<int>(G.kernel.height);
    constexpr int rows = most < 1 ? 1 : (most < height ? most : height);
    constexpr int whole = height / rows * rows;
    for (int k = 0; k < whole; k += rows)
      scatter_rows<V, Pixels, vectors, rows>(dy, w + k * row_room<G>, to + k * shape<G>::frame_row);
    if constexpr (whole < height)
      scatter_rows<V, Pixels, vectors, height - whole>(dy, w + whole * row_room<G>, to + whole * shape<G>::frame_row);
  }

  template <class V, int Pixels, int Vectors, int Rows>
  static LOCKSTEP_ALWAYS_INLINE void scatter_rows(const float* LOCKSTEP_RESTRICT dy, const float* LOCKSTEP_RESTRICT w,
                                                  float* LOCKSTEP_RESTRICT to) {
    array_of<matrix_of<V, Rows, Vectors>, Pixels> sum = {};
    for (std::int64_t o = 0; o < G.out_channels; ++o, w += G.kernel.height * row_room<G>) {
      array_of<V, Pixels> gradient;
#pragma GCC unroll 2
      for (int p = 0; p < Pixels; ++p) {
        V value;
        broadcast(value, dy[p * G.out_channels + o]);
        gradient[p] = value;
      }
#pragma GCC unroll 8
      for (int k = 0; k < Rows; ++k)
#pragma GCC unroll 4
        for (int v = 0; v < Vectors; ++v) {
          V weight;
          load(weight, w + k * row_room<G> + lanes<V> * v);
#pragma GCC unroll 2
          for (int p = 0; p < Pixels; ++p) sum[p][k][v] += gradient[p] * weight;
        }
    }
#pragma GCC unroll 2
    for (int p = 0; p < Pixels; ++p)
#pragma GCC unroll 8
      for (int k = 0; k < Rows; ++k)
#pragma GCC unroll 4
        for (int v = 0; v < Vectors; ++v) {
          float* const place = to + k * shape<G>::frame_row + p * G.in_channels + lanes<V> * v;
          add_from(sum[p][k][v], place);
          store(place, sum[p][k][v]);
        }
  }
};

/// The gradient of the input of a small convolution.
template <convolution_geometry G>
class input_gradient {
 public:
  input_gradient() : frame_(shape<G>::frame_size + 32), weights_(G.out_channels * G.kernel.height * row_room<G>) {}

  /// dx = the gradient for `samples` pictures, channels-last; weights in PyTorch's order.
  template <class V>
  void run(std::int64_t samples, const float* dy, const float* w, float* dx) {
    each_weight<G>([&](std::int64_t o, std::int64_t k, std::int64_t t) {
      weights_.data()[(o * G.kernel.height + k) * row_room<G> + t] = *w++;
    });
    constexpr std::int64_t width = G.in.width * G.in_channels;
    for (std::int64_t s = 0; s < samples; ++s, dy += G.out_size()) {
      std::fill_n(frame_.data(), shape<G>::frame_size, 0.F);
      run_for<V, scatter_gradients<G>>(dy, weights_.data(), frame_.data());
      for (std::int64_t h = 0; h < G.in.height; ++h, dx += width)
        std::copy_n(frame_.data() + (h + G.padding.height) * shape<G>::frame_row + G.padding.width * G.in_channels,
                    width, dx);
    }
  }

 private:
  aligned_buffer<float> frame_, weights_;
};

}  // namespace lockstep::cpu_backend::few_channels
