// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <lockstep/core/config.hpp>

#include <algorithm>
#include <cstdint>

#include <lockstep/backend/cpu/array.hpp>
#include <lockstep/backend/cpu/few_channels/shape.hpp>
#include <lockstep/backend/cpu/simd.hpp>
#include <lockstep/backend/geometry.hpp>
#include <lockstep/core/static_for.hpp>
#include <lockstep/core/tensor.hpp>

namespace lockstep::cpu_backend::few_channels {

/// sums[k][c] += sum over the pixels of a picture, from zero, of x[pixel][k] dy[pixel][c], for `Taps` taps from `First`
/// on. x is a picture in its frame, dy is pixels x panel.
template <convolution_geometry G, std::int64_t First, std::int64_t Taps>
struct tap_products {
  template <class V>
  static LOCKSTEP_ALWAYS_INLINE void run(const float* LOCKSTEP_RESTRICT x, const float* LOCKSTEP_RESTRICT dy,
                                         float* LOCKSTEP_RESTRICT sums) {
    constexpr int vectors = shape<G>::template vectors<V>;
    constexpr std::int64_t panel = shape<G>::template panel<V>;
    matrix_of<V, Taps, vectors> sum = {};
    for (std::int64_t h = 0; h < G.out().height; ++h) {
      const float* from = x + h * shape<G>::frame_row;
      for (std::int64_t w = 0; w < G.out().width; ++w, from += G.in_channels, dy += panel) {
        array_of<V, vectors> gradient;
#pragma GCC unroll 2
        for (int v = 0; v < vectors; ++v) {
          load(gradient[v], dy + lanes<V> * v);
          LOCKSTEP_IN_REGISTER(gradient[v]);
        }
#pragma GCC unroll 24
        for (int k = 0; k < Taps; ++k) {
          V value;
          broadcast(value, from[shape<G>::tap_place(First + k)]);
#pragma GCC unroll 2
          for (int v = 0; v < vectors; ++v) sum[k][v] += value * gradient[v];
        }
      }
    }
#pragma GCC unroll 24
    for (int k = 0; k < Taps; ++k)
#pragma GCC unroll 2
      for (int v = 0; v < vectors; ++v) {
        float* const to = sums + (First + k) * panel + lanes<V> * v;
        add_from(sum[k][v], to);
        store(to, sum[k][v]);
      }
  }
};

/// Copies the gradients of a picture's outputs to pixels x panel, and adds them up, from zero, to `sums`. Reads nothing
/// from `end` on, where the gradients of all pictures end.
template <convolution_geometry G>
struct copy_gradients {
  template <class V>
  static LOCKSTEP_ALWAYS_INLINE void run(const float* LOCKSTEP_RESTRICT dy, const float* end,
                                         float* LOCKSTEP_RESTRICT to, float* LOCKSTEP_RESTRICT sums) {
    constexpr int vectors = shape<G>::template vectors<V>;
    constexpr std::int64_t pixels = G.out().height * G.out().width;
    array_of<V, vectors> sum = {};
    // Lanes past the channels hold what the next pixels have, which nothing uses.
    for (std::int64_t p = 0; p < pixels; ++p, dy += G.out_channels, to += shape<G>::template panel<V>)
#pragma GCC unroll 2
      for (int v = 0; v < vectors; ++v) {
        const float* const from = dy + lanes<V> * v;
        V g;
        load_first(g, from, end - from < lanes<V> ? G.out_channels - lanes<V> * v : lanes<V>);
        store(to + lanes<V> * v, g);
        sum[v] += g;
      }
#pragma GCC unroll 2
    for (int v = 0; v < vectors; ++v) {
      add_from(sum[v], sums + lanes<V> * v);
      store(sums + lanes<V> * v, sum[v]);
    }
  }
};

/// The gradients of the weights and the bias of a small convolution.
template <convolution_geometry G>
class weight_gradient {
 public:
  weight_gradient()
      : frame_(shape<G>::framed ? shape<G>::frame_size : 0),
        gradients_(G.out().height * G.out().width * 16),
        sums_((shape<G>::taps + 1) * 16) {}

  /// dw and db (+)= the gradients for `samples` pictures, channels-last; weights in PyTorch's order, db may be null.
  template <class V>
  void run(std::int64_t samples, const float* x, const float* dy, float* dw, float* db, bool accumulate) {
    constexpr std::int64_t panel = shape<G>::template panel<V>;
    // One more row for the bias.
    std::fill_n(sums_.data(), sums_.size(), 0.F);
    float* const bias = sums_.data() + shape<G>::taps * panel;
    const float* const end = dy + samples * G.out_size();
    for (std::int64_t s = 0; s < samples; ++s, x += G.in_size(), dy += G.out_size()) {
      const float* from = x;
      if constexpr (shape<G>::framed) load_frame<G>(x, frame_.data()), from = frame_.data();
      run_for<V, copy_gradients<G>>(dy, end, gradients_.data(), bias);
      constexpr std::int64_t most = (lanes<V> == 16 ? 24 : 13) / shape<G>::template vectors<V>;
      constexpr std::int64_t tiles = (shape<G>::taps + most - 1) / most;
      detail::static_for<static_cast<std::size_t>(tiles)>([&]<std::size_t Tile>() {
        constexpr std::int64_t first = static_cast<std::int64_t>(Tile) * shape<G>::taps / tiles;
        constexpr std::int64_t after = static_cast<std::int64_t>(Tile + 1) * shape<G>::taps / tiles;
        run_for<V, tap_products<G, first, after - first>>(from, gradients_.data(), sums_.data());
      });
    }
    const auto put = [accumulate](float& to, float value) { to = accumulate ? to + value : value; };
    if (db != nullptr)
      for (std::int64_t o = 0; o < G.out_channels; ++o) put(db[o], bias[o]);
    each_weight<G>([&](std::int64_t o, std::int64_t k, std::int64_t t) {
      put(*dw++, sums_.data()[(k * shape<G>::row_taps + t) * panel + o]);
    });
  }

 private:
  aligned_buffer<float> frame_, gradients_, sums_;
};

}  // namespace lockstep::cpu_backend::few_channels
