// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <lockstep/core/config.hpp>

#include <algorithm>
#include <cstdint>
#include <type_traits>

#include <lockstep/backend/cpu/simd.hpp>
#include <lockstep/backend/geometry.hpp>

/// \file
/// Convolutions of few channels on both sides, as in LeNet: their geometry is a template argument, so that addresses
/// are constants and all sums of a tile stay in registers. The taps of a kernel's row, times the input channels, are
/// contiguous in a picture.

namespace lockstep::cpu_backend::few_channels {

/// Most floats of a kernel's row times the input channels.
inline constexpr std::int64_t most_row_taps = 32;

/// True for convolutions that these kernels are made for. Where both numbers of channels are multiples of eight, oneDNN
/// is as fast.
[[nodiscard]] constexpr bool fits(const convolution_geometry& g) {
  return g.groups == 1 && g.stride == extent2{1} && g.dilation == extent2{1} && g.out_channels <= 16 &&
         g.kernel.width * g.in_channels <= most_row_taps && g.kernel.height <= 7 &&
         (g.in_channels % 8 != 0 || g.out_channels % 8 != 0);
}

/// True where the gradient of the input is faster by our own kernel than by oneDNN: for kernels whose rows fill
/// vectors.
[[nodiscard]] constexpr bool scatters(const convolution_geometry& g) {
  return g.kernel.width * g.in_channels > 24 && g.kernel.height >= 5;
}

template <convolution_geometry G>
struct shape {
  static constexpr std::int64_t row_taps = G.kernel.width * G.in_channels;
  static constexpr std::int64_t taps = G.kernel.height * row_taps;
  /// Elements from a row of a picture in its frame of zeros to the next.
  static constexpr std::int64_t frame_row = (G.in.width + 2 * G.padding.width) * G.in_channels;
  static constexpr std::int64_t frame_size = (G.in.height + 2 * G.padding.height) * frame_row;
  static constexpr bool framed = G.padding.height > 0 || G.padding.width > 0;

  /// Output channels, filled up to whole vectors.
  template <class V>
  static constexpr std::int64_t panel = (G.out_channels + lanes<V> - 1) / lanes<V> * lanes<V>;
  template <class V>
  static constexpr int vectors = static_cast<int>(panel<V> / lanes<V>);

  /// Where tap k, of taps and input channels in one order, lies from the first.
  [[nodiscard]] static constexpr std::int64_t tap_place(std::int64_t k) {
    return k / row_taps * frame_row + k % row_taps;
  }
};

/// Calls f(std::type_identity<V>{}) for the vectors that suit G's output channels. The machine must have AVX2.
template <convolution_geometry G, class F>
void with_vectors(const F& f) {
  if constexpr (G.out_channels <= lanes<float_x8>)
    f(std::type_identity<float_x8>{});
  else
    with_widest(f);
}

/// Calls f(o, k, t) for every weight in PyTorch's order: output channel o, row k of the kernel, place t among the row's
/// taps times the input channels.
template <convolution_geometry G, class F>
void each_weight(const F& f) {
  for (std::int64_t o = 0; o < G.out_channels; ++o)
    for (std::int64_t i = 0; i < G.in_channels; ++i)
      for (std::int64_t k = 0; k < G.kernel.height; ++k)
        for (std::int64_t l = 0; l < G.kernel.width; ++l) f(o, k, l * G.in_channels + i);
}

/// Copies the pixels of one picture, channels-last, into its frame of zeros.
template <convolution_geometry G>
void load_frame(const float* x, float* frame) {
  constexpr std::int64_t width = G.in.width * G.in_channels;
  for (std::int64_t h = 0; h < G.in.height; ++h)
    std::copy_n(x + h * width, width,
                frame + (h + G.padding.height) * shape<G>::frame_row + G.padding.width * G.in_channels);
}

}  // namespace lockstep::cpu_backend::few_channels
