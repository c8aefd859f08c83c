// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <lockstep/core/config.hpp>

#include <algorithm>
#include <cstdint>

#include <lockstep/inference/convolution_shape.hpp>
#include <lockstep/inference/vectors.hpp>

/// \file
/// Convolutions with vectors of output channels: some pixels x some vectors of sums in registers, to which each tap
/// adds one input, in all lanes, times a vector of weights. Weights are packed in blocks of `block_vectors` vectors:
/// the bias, then the weights of each tap (height, width, input channel).

namespace lockstep::detail::infer {

template <convolution_shape G, std::int64_t Vector>
struct convolution_tiling {
  static constexpr std::int64_t vectors = round_up(G.g.out_channels, Vector) / Vector;
  static constexpr std::int64_t block = block_vectors(vectors, Vector);
  static constexpr std::int64_t most = sums_in_registers(Vector) / block;
  static constexpr extent2 out = G.g.out();
  /// Whole rows of pixels in a tile; 0 where a row is more than a tile.
  static constexpr std::int64_t rows = (std::min)(most / out.width, out.height);
  /// Tiles in a row that is more than one; the first `taller` have a pixel more than the others.
  static constexpr std::int64_t tiles = (out.width + most - 1) / most;
  static constexpr std::int64_t pixels = out.width / tiles;
  static constexpr std::int64_t taller = out.width % tiles;

  /// The taps of an output, in the order of its weights.
  static constexpr loop_nest taps = [] {
    loop_nest nest;
    nest.add(G.g.kernel.height, G.g.dilation.height * G.in.row_step);
    nest.add(G.g.kernel.width, G.g.dilation.width * G.in.pixel_step);
    nest.add(G.g.in_channels, G.in.channel_step);
    return nest;
  }();
};

template <convolution_shape G>
struct convolution_kernel {
  template <class V>
  static LOCKSTEP_ALWAYS_INLINE void run(const float* w, const float* x, const float* addend, float* y) {
    using tiling = convolution_tiling<G, lanes<V>>;
    constexpr extent2 out = G.g.out();
    constexpr std::int64_t down = G.g.stride.height * G.in.row_step;
    if constexpr (tiling::rows > 0) {
      constexpr std::int64_t rest = out.height % tiling::rows;
      std::int64_t h = 0;
      for (; h + tiling::rows <= out.height; h += tiling::rows)
        pixels<V, tiling::rows * out.width>(w, x + h * down, addend + (G.adds ? h * G.out.row_step : 0),
                                            y + h * G.out.row_step);
      if constexpr (rest > 0)
        pixels<V, rest * out.width>(w, x + h * down, addend + (G.adds ? h * G.out.row_step : 0),
                                    y + h * G.out.row_step);
    } else {
      constexpr std::int64_t right = G.g.stride.width * G.in.pixel_step;
      for (std::int64_t h = 0; h < out.height; ++h) {
        const std::int64_t row = h * G.out.row_step;
        std::int64_t p = 0;
        if constexpr (tiling::taller > 0)
          for (int t = 0; t < tiling::taller; ++t, p += tiling::pixels + 1)
            pixels<V, tiling::pixels + 1>(w, x + h * down + p * right,
                                          addend + (G.adds ? row + p * G.out.pixel_step : 0),
                                          y + row + p * G.out.pixel_step);
        for (; p < out.width; p += tiling::pixels)
          pixels<V, tiling::pixels>(w, x + h * down + p * right, addend + (G.adds ? row + p * G.out.pixel_step : 0),
                                    y + row + p * G.out.pixel_step);
      }
    }
  }

 private:
  /// All channels of neighbouring pixels, of one row or of whole rows.
  template <class V, int Pixels>
  static LOCKSTEP_ALWAYS_INLINE void pixels(const float* LOCKSTEP_RESTRICT w, const float* LOCKSTEP_RESTRICT x,
                                            const float* addend, float* LOCKSTEP_RESTRICT y) {
    using tiling = convolution_tiling<G, lanes<V>>;
    constexpr int vectors = tiling::block;
    constexpr std::int64_t step = vectors * lanes<V>;
    constexpr loop_nest taps = tiling::taps;
    for (std::int64_t b = 0; b < tiling::vectors; b += vectors) {
      matrix_of<V, Pixels, vectors> sum;
#pragma GCC unroll 32
      for (int p = 0; p < Pixels; ++p)
#pragma GCC unroll 4
        for (int v = 0; v < vectors; ++v) load(sum[p][v], w + v * lanes<V>);
      w += step;
      for (std::int64_t i = 0; i < taps.count[0]; ++i)
        for (std::int64_t j = 0; j < taps.count[1]; ++j) {
          const float* from = x + i * taps.step[0] + j * taps.step[1];
#pragma GCC unroll 2
          for (std::int64_t k = 0; k < taps.count[2]; ++k, from += taps.step[2], w += step) {
            array_of<V, vectors> weights;
#pragma GCC unroll 4
            for (int v = 0; v < vectors; ++v) {
              load(weights[v], w + v * lanes<V>);
              LOCKSTEP_IN_REGISTER(weights[v]);
            }
#pragma GCC unroll 32
            for (int p = 0; p < Pixels; ++p) {
              V value;
              spread(value, from[place(p)]);
#pragma GCC unroll 4
              for (int v = 0; v < vectors; ++v) sum[p][v] += value * weights[v];
            }
          }
        }
#pragma GCC unroll 32
      for (int p = 0; p < Pixels; ++p)
#pragma GCC unroll 4
        for (int v = 0; v < vectors; ++v) {
          const std::int64_t at = out_place(p) + (b + v) * lanes<V>;
          if constexpr (G.adds) cpu_backend::add_from(sum[p][v], addend + at);
          if constexpr (G.relu) rectify(sum[p][v]);
          store(y + at, sum[p][v]);
        }
    }
  }
  /// Where the window of pixel p of a tile begins.
  static LOCKSTEP_ALWAYS_INLINE constexpr std::int64_t place(std::int64_t p) {
    constexpr std::int64_t width = G.g.out().width;
    return p / width * G.g.stride.height * G.in.row_step + p % width * G.g.stride.width * G.in.pixel_step;
  }
  static LOCKSTEP_ALWAYS_INLINE constexpr std::int64_t out_place(std::int64_t p) {
    constexpr std::int64_t width = G.g.out().width;
    return p / width * G.out.row_step + p % width * G.out.pixel_step;
  }
};

/// Groups of channels, one output after the other. Weights lie in PyTorch's order, after the bias.
template <convolution_shape G>
struct loop_convolution_kernel {
  static LOCKSTEP_ALWAYS_INLINE void run(const float* w, const float* x, const float* addend, float* y) {
    constexpr std::int64_t in_group = G.g.in_channels / G.g.groups;
    constexpr std::int64_t out_group = G.g.out_channels / G.g.groups;
    const float* const bias = w;
    w += G.g.out_channels;
    for (std::int64_t o = 0; o < G.g.out_channels; ++o) {
      const float* const own = w + o * in_group * G.g.kernel.height * G.g.kernel.width;
      for (std::int64_t h = 0; h < G.g.out().height; ++h)
        for (std::int64_t p = 0; p < G.g.out().width; ++p) {
          const float* const window =
              x + G.in.at(o / out_group * in_group, h * G.g.stride.height, p * G.g.stride.width);
          float sum = bias[o];
          const float* weight = own;
          for (std::int64_t c = 0; c < in_group; ++c)
            for (std::int64_t i = 0; i < G.g.kernel.height; ++i)
              for (std::int64_t j = 0; j < G.g.kernel.width; ++j)
                sum += *weight++ * window[G.in.at(c, i * G.g.dilation.height, j * G.g.dilation.width)];
          const std::int64_t at = G.out.at(o, h, p);
          if constexpr (G.adds) sum += addend[at];
          if constexpr (G.relu) rectify(sum);
          y[at] = sum;
        }
    }
    for (std::int64_t pixel = 0; pixel < G.out.height * G.out.width; ++pixel)  // the gaps
      for (std::int64_t o = G.g.out_channels; o < G.out.pixel_step; ++o) y[pixel * G.out.pixel_step + o] = 0;
  }
};

/// Few output channels, with vectors of neighbouring pixels: all rows are one row, with the frame's columns between
/// them. Weights are the bias, then those of each tap (height, width, input channel), each of all output channels.
template <convolution_shape G>
struct pixel_convolution_kernel {
  template <class V>
  static LOCKSTEP_ALWAYS_INLINE void run(const float* w, const float* x, const float* addend, float* y) {
    constexpr std::int64_t vectors = pixel_vectors(G.g, lanes<V>);
    constexpr std::int64_t most = sums_in_registers(lanes<V>) / G.g.out_channels;
    constexpr std::int64_t tiles = (vectors + most - 1) / most;
    constexpr std::int64_t width = vectors / tiles;
    constexpr std::int64_t wider = vectors % tiles;
    std::int64_t at = 0;
    if constexpr (wider > 0)
      for (std::int64_t t = 0; t < wider; ++t, at += (width + 1) * lanes<V>)
        tile<V, width + 1>(w, x + at, addend + (G.adds ? at : 0), y + at);
    for (std::int64_t t = wider; t < tiles; ++t, at += width * lanes<V>)
      tile<V, width>(w, x + at, addend + (G.adds ? at : 0), y + at);
  }

 private:
  template <class V, int Vectors>
  static LOCKSTEP_ALWAYS_INLINE void tile(const float* LOCKSTEP_RESTRICT w, const float* LOCKSTEP_RESTRICT x,
                                          const float* addend, float* LOCKSTEP_RESTRICT y) {
    constexpr int channels = G.g.out_channels;
    matrix_of<V, channels, Vectors> sum;
#pragma GCC unroll 16
    for (int c = 0; c < channels; ++c)
#pragma GCC unroll 16
      for (int v = 0; v < Vectors; ++v) spread(sum[c][v], w[c]);
    w += channels;
    for (std::int64_t i = 0; i < G.g.kernel.height; ++i)
      for (std::int64_t j = 0; j < G.g.kernel.width; ++j)
        for (std::int64_t k = 0; k < G.g.in_channels; ++k, w += channels) {
          const float* const from = x + G.in.at(k, i * G.g.dilation.height, j * G.g.dilation.width);
          array_of<V, Vectors> values;
#pragma GCC unroll 16
          for (int v = 0; v < Vectors; ++v) {
            load(values[v], from + v * lanes<V>);
            LOCKSTEP_IN_REGISTER(values[v]);
          }
#pragma GCC unroll 16
          for (int c = 0; c < channels; ++c) {
            V weight;
            spread(weight, w[c]);
#pragma GCC unroll 16
            for (int v = 0; v < Vectors; ++v) sum[c][v] += weight * values[v];
          }
        }
#pragma GCC unroll 16
    for (int c = 0; c < channels; ++c)
#pragma GCC unroll 16
      for (int v = 0; v < Vectors; ++v) {
        const std::int64_t at = c * G.out.channel_step + v * lanes<V>;
        if constexpr (G.adds) cpu_backend::add_from(sum[c][v], addend + at);
        if constexpr (G.relu) rectify(sum[c][v]);
        store(y + at, sum[c][v]);
      }
  }
};

/// Copies a picture into its frame of zeros; what the frame's layout has beyond is zero too.
template <value_layout In, value_layout Frame, extent2 Padding>
struct frame_kernel {
  static LOCKSTEP_ALWAYS_INLINE void run(const float* LOCKSTEP_RESTRICT x, float* LOCKSTEP_RESTRICT y) {
    constexpr std::int64_t from = Padding == extent2{0} ? Frame.elements() : 0;
    __builtin_memset(y + from, 0, sizeof(float) * static_cast<std::size_t>(Frame.size - from));
    y += Frame.at(0, Padding.height, Padding.width);
    if constexpr (Frame.is_channels_last()) {
      for (std::int64_t h = 0; h < In.height; ++h)
        for (std::int64_t w = 0; w < In.width; ++w)
          __builtin_memcpy(y + Frame.at(0, h, w), x + In.at(0, h, w),
                           sizeof(float) * static_cast<std::size_t>(In.channels));
    } else if constexpr (In.pixel_step == 1) {
      for (std::int64_t c = 0; c < In.channels; ++c) {
        if constexpr (Frame.row_step == In.row_step && Padding == extent2{0})
          __builtin_memcpy(y + Frame.at(c, 0, 0), x + In.at(c, 0, 0),
                           sizeof(float) * static_cast<std::size_t>(In.height * In.width));
        else
          for (std::int64_t h = 0; h < In.height; ++h)
            __builtin_memcpy(y + Frame.at(c, h, 0), x + In.at(c, h, 0),
                             sizeof(float) * static_cast<std::size_t>(In.width));
      }
    } else {
      for (std::int64_t c = 0; c < In.channels; ++c)
        for (std::int64_t h = 0; h < In.height; ++h)
          for (std::int64_t w = 0; w < In.width; ++w) y[Frame.at(c, h, w)] = x[In.at(c, h, w)];
    }
  }
};

}  // namespace lockstep::detail::infer
