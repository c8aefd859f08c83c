// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <lockstep/core/config.hpp>

#include <algorithm>
#include <cstdint>

#include <lockstep/backend/geometry.hpp>
#include <lockstep/backend/resampling.hpp>
#include <lockstep/inference/element_kernels.hpp>
#include <lockstep/inference/value_layout.hpp>
#include <lockstep/inference/vectors.hpp>

/// \file
/// Pooling of windows and changes of extents, on values of any layout.

namespace lockstep::detail::infer {

template <pooling_geometry G, value_layout In, value_layout Out>
struct pooling_kernel {
  template <class V>
  static LOCKSTEP_ALWAYS_INLINE void run(const float* x, float* y) {
    constexpr bool halves = G.kernel == extent2{2} && G.stride == extent2{2} && G.padding == extent2{0} &&
                            In.pixel_step == 1 && Out.pixel_step == 1;
    if constexpr (Out.is_channels_last() && In.is_channels_last() && In.pixel_step == Out.pixel_step)
      windows<V>(x, y);
    else if constexpr (halves && !reads_user_memory)
      pairs<V>(x, y);
    else
      windows<float>(x, y);
    if constexpr (Out.is_plain()) clear_gaps<Out>(y);
  }

 private:
  /// The user's memory ends where the elements do, so that no vector may reach beyond.
  static constexpr bool reads_user_memory = In.is_plain() && In.size == In.elements();

  template <class T>
  static LOCKSTEP_ALWAYS_INLINE void take(T& all, const T& v) {
    if constexpr (G.kind == pooling_kind::maximum)
      take_larger_or_nan(all, v);
    else
      all += v;
  }
  /// 1 / the number of elements of a window that has `inside` of them inside the picture.
  static constexpr float share(std::int64_t inside) {
    const std::int64_t all =
        G.kind == pooling_kind::average_include_padding ? G.kernel.height * G.kernel.width : inside;
    return 1.F / static_cast<float>(all);
  }

  /// Each window by itself: the elements of a vector are neighbouring channels.
  template <class T>
  static LOCKSTEP_ALWAYS_INLINE void windows(const float* x, float* y) {
    constexpr std::int64_t width = sizeof(T) / sizeof(float);
    constexpr std::int64_t channels = width > 1 ? Out.pixel_step : In.channels;
    for (std::int64_t h = 0; h < Out.height; ++h) {
      const std::int64_t top = (std::max)(h * G.stride.height - G.padding.height, std::int64_t{0});
      const std::int64_t bottom =
          (std::min)(h * G.stride.height - G.padding.height + G.kernel.height, std::int64_t{In.height});
      for (std::int64_t w = 0; w < Out.width; ++w) {
        const std::int64_t left = (std::max)(w * G.stride.width - G.padding.width, std::int64_t{0});
        const std::int64_t right =
            (std::min)(w * G.stride.width - G.padding.width + G.kernel.width, std::int64_t{In.width});
        for (std::int64_t c = 0; c < channels; c += width) {
          const float* const from = x + c * In.channel_step;
          T all{};
          if constexpr (G.kind == pooling_kind::maximum) load(all, from + In.at(0, top, left));
          for (std::int64_t i = top; i < bottom; ++i)
            for (std::int64_t j = left; j < right; ++j) {
              T v;
              load(v, from + In.at(0, i, j));
              take(all, v);
            }
          if constexpr (G.kind != pooling_kind::maximum) all *= share((bottom - top) * (right - left));
          store(y + c * Out.channel_step + Out.at(0, h, w), all);
        }
      }
    }
  }

  /// Windows of 2 x 2 pixels, a vector of them at once. What is written beyond a row, the next one overwrites.
  template <class V>
  static LOCKSTEP_ALWAYS_INLINE void pairs(const float* x, float* y) {
    for (std::int64_t c = 0; c < In.channels; ++c)
      for (std::int64_t h = 0; h < Out.height; ++h) {
        const float* const above = x + In.at(c, 2 * h, 0);
        const float* const below = above + In.row_step;
        float* const to = y + Out.at(c, h, 0);
        for (std::int64_t w = 0; w < Out.width; w += lanes<V>) {
          V first, second, lower;
          load(first, above + 2 * w);
          load(lower, below + 2 * w);
          take(first, lower);
          if (w + lanes<V> / 2 < Out.width) {
            load(second, above + 2 * w + lanes<V>);
            load(lower, below + 2 * w + lanes<V>);
            take(second, lower);
          } else {
            second = first;
          }
          V even, odd;
          part_pairs(first, second, even, odd);
          take(even, odd);
          if constexpr (G.kind != pooling_kind::maximum) even *= share(4);
          store(to + w, even);
        }
      }
  }
};

/// A change of extents, by taps that the compiler computes.
template <resampling_geometry G, value_layout In, value_layout Out>
struct resampling_kernel {
  static LOCKSTEP_ALWAYS_INLINE void run(const float* x, float* y) {
    for (std::int64_t i = 0; i < Out.size; ++i) y[i] = 0;  // the gaps
    for (std::int64_t h = 0; h < Out.height; ++h)
      for (std::int64_t w = 0; w < Out.width; ++w)
        for (std::int64_t c = 0; c < Out.channels; ++c) {
          double sum = 0;
          each_tap(
              G.in.height, G.out.height, h, [&](std::int64_t i, double down) __attribute__((always_inline)) {
                each_tap(
                    G.in.width, G.out.width, w, [&](std::int64_t j, double right) __attribute__((always_inline)) {
                      sum += down * right * static_cast<double>(x[In.at(c, i, j)]);
                    });
              });
          y[Out.at(c, h, w)] = static_cast<float>(sum);
        }
  }

 private:
  template <class F>
  static void each_tap(std::int64_t in, std::int64_t out, std::int64_t o, const F& f) {
    for_each_tap(G.kind, in, out, o, f);
  }
};

}  // namespace lockstep::detail::infer
