// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <lockstep/core/config.hpp>

#include <algorithm>
#include <cstdint>

#include <lockstep/backend/cpu/array.hpp>
#include <lockstep/backend/cpu/few_channels/shape.hpp>
#include <lockstep/backend/cpu/simd.hpp>
#include <lockstep/backend/cpu/tiles.hpp>
#include <lockstep/backend/geometry.hpp>
#include <lockstep/core/tensor.hpp>

namespace lockstep::cpu_backend::few_channels {

/// The outputs of one picture: tiles of neighbouring pixels in a row, all channels.
template <convolution_geometry G>
struct forward_kernel {
  /// x is a picture in its frame, w is taps x panel, b a panel. Writes nothing from `end` on, where the outputs of all
  /// pictures end.
  template <class V>
  static LOCKSTEP_ALWAYS_INLINE void run(const float* LOCKSTEP_RESTRICT x, const float* LOCKSTEP_RESTRICT w,
                                         const float* LOCKSTEP_RESTRICT b, float* y, const float* end) {
    constexpr std::int64_t width = G.out().width;
    constexpr std::int64_t most = 12 / shape<G>::template vectors<V>;
    constexpr std::int64_t tiles = (width + most - 1) / most;
    constexpr int height = static_cast<int>(width / tiles);
    constexpr std::int64_t taller = width % tiles;
    for (std::int64_t h = 0; h < G.out().height; ++h, x += shape<G>::frame_row) {
      const float* from = x;
      if constexpr (taller > 0)
        for (std::int64_t t = 0; t < taller; ++t) tile<V, height + 1>(from, w, b, y, end);
      for (std::int64_t t = taller; t < tiles; ++t) tile<V, height>(from, w, b, y, end);
    }
  }

 private:
  /// Moves x and y on to the next tile.
  template <class V, int Pixels>
  static LOCKSTEP_ALWAYS_INLINE void tile(const float*& x, const float* LOCKSTEP_RESTRICT w,
                                          const float* LOCKSTEP_RESTRICT b, float*& y, const float* end) {
    constexpr int vectors = shape<G>::template vectors<V>;
    constexpr std::int64_t panel = shape<G>::template panel<V>;
    matrix_of<V, Pixels, vectors> sum;
#pragma GCC unroll 16
    for (int p = 0; p < Pixels; ++p)
#pragma GCC unroll 2
      for (int v = 0; v < vectors; ++v) load(sum[p][v], b + lanes<V> * v);
    for (std::int64_t k = 0; k < G.kernel.height; ++k)
      multiply_add<V, Pixels, vectors>(shape<G>::row_taps, x + k * shape<G>::frame_row, G.in_channels, 1,
                                       w + k * shape<G>::row_taps * panel, panel, lanes<V>, sum);
      // A vector may be longer than a pixel's channels: what it writes too much, later pixels write again.
#pragma GCC unroll 16
    for (int p = 0; p < Pixels; ++p)
#pragma GCC unroll 2
      for (int v = 0; v < vectors; ++v) {
        if constexpr (G.relu) relu(sum[p][v]);
        float* const to = y + p * G.out_channels + lanes<V> * v;
        if (end - to < lanes<V>)
          store_first(to, sum[p][v], G.out_channels - lanes<V> * v);
        else
          store(to, sum[p][v]);
      }
    x += Pixels * G.in_channels;
    y += Pixels * G.out_channels;
  }
};

/// The forward pass of a small convolution.
template <convolution_geometry G>
class forward_pass {
 public:
  forward_pass() : frame_(shape<G>::framed ? shape<G>::frame_size : 0), weights_(shape<G>::taps * 16), bias_(16) {}

  /// y = relu_if(x * w + b) for `samples` pictures, channels-last; weights in PyTorch's order, b may be null.
  template <class V>
  void run(std::int64_t samples, const float* x, const float* w, const float* b, float* y) {
    constexpr std::int64_t panel = shape<G>::template panel<V>;
    for (std::int64_t o = 0; o < G.out_channels; ++o) bias_.data()[o] = b == nullptr ? 0.F : b[o];
    each_weight<G>([&](std::int64_t o, std::int64_t k, std::int64_t t) {
      weights_.data()[(k * shape<G>::row_taps + t) * panel + o] = *w++;
    });
    const float* const end = y + samples * G.out_size();
    for (std::int64_t s = 0; s < samples; ++s, x += G.in_size(), y += G.out_size()) {
      const float* from = x;
      if constexpr (shape<G>::framed) load_frame<G>(x, frame_.data()), from = frame_.data();
      run_for<V, forward_kernel<G>>(from, weights_.data(), bias_.data(), y, end);
    }
  }

 private:
  aligned_buffer<float> frame_, weights_, bias_;
};

}  // namespace lockstep::cpu_backend::few_channels
