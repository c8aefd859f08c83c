// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <lockstep/core/config.hpp>

#include <cstddef>
#include <cstdint>

#include <lockstep/inference/value_layout.hpp>
#include <lockstep/inference/vectors.hpp>

/// \file
/// Kernels that go over elements: functions, sums, batch normalisations, and copies.

namespace lockstep::detail::infer {

/// y = f(x) for `Size` floats, a multiple of the vector. Vectors of four are taken element by element: functions know
/// longer ones.
template <std::int64_t Size, class F>
struct map_kernel {
  template <class V>
  static LOCKSTEP_ALWAYS_INLINE void run(const F& f, const float* x, float* y) {
    if constexpr (lanes<V> == 4) {
      for (std::int64_t i = 0; i < Size; ++i) {
        float v = x[i];
        f(v);
        y[i] = v;
      }
    } else {
      for (std::int64_t i = 0; i < Size; i += lanes<V>) {
        V v;
        load(v, x + i);
        f(v);
        store(y + i, v);
      }
    }
  }
};

template <class V, std::int64_t Size>
LOCKSTEP_ALWAYS_INLINE void rectify_elements(const float* x, float* y) {
  for (std::int64_t i = 0; i < Size; i += lanes<V>) {
    V v;
    load(v, x + i);
    rectify(v);
    store(y + i, v);
  }
}

template <class V, std::int64_t Size, bool Relu>
LOCKSTEP_ALWAYS_INLINE void add_elements(const float* a, const float* b, float* y) {
  for (std::int64_t i = 0; i < Size; i += lanes<V>) {
    V v;
    load(v, a + i);
    cpu_backend::add_from(v, b + i);
    if constexpr (Relu) rectify(v);
    store(y + i, v);
  }
}

/// y = (x - mean) scale + shift by channel, and `addend`. `w` has the three for all channels, each of whole vectors.
template <value_layout L, bool Relu, bool Adds>
struct scale_kernel {
  template <class V>
  static LOCKSTEP_ALWAYS_INLINE void run(const float* w, const float* x, const float* addend, float* y) {
    constexpr std::int64_t channels = round_up(L.channels, lanes<V>);
    if constexpr (L.channel_step == 1 && (L.height * L.width == 1 || L.pixel_step % lanes<V> == 0)) {
      for (std::int64_t h = 0; h < L.height; ++h)
        for (std::int64_t p = 0; p < L.width; ++p)
          for (std::int64_t c = 0; c < channels; c += lanes<V>) {
            V mean, scale, shift;
            load(mean, w + c);
            load(scale, w + channels + c);
            load(shift, w + 2 * channels + c);
            apply(mean, scale, shift, L.at(c, h, p), x, addend, y);
          }
    } else {
      for (std::int64_t c = 0; c < L.channels; ++c)
        for (std::int64_t h = 0; h < L.height; ++h)
          for (std::int64_t p = 0; p < L.width; ++p)
            apply(w[c], w[channels + c], w[2 * channels + c], L.at(c, h, p), x, addend, y);
      for (std::int64_t i = L.elements(); L.is_plain() && i < L.size; ++i) y[i] = 0;
    }
  }

 private:
  template <class T>
  static LOCKSTEP_ALWAYS_INLINE void apply(const T& mean, const T& scale, const T& shift, std::int64_t at,
                                           const float* x, const float* addend, float* y) {
    T v;
    load(v, x + at);
    v = (v - mean) * scale + shift;
    if constexpr (Adds) {
      T other;
      load(other, addend + at);
      v += other;
    }
    if constexpr (Relu) rectify(v);
    store(y + at, v);
  }
};

/// The elements of a sample in another order; what the new layout has beyond its elements becomes zero.
template <value_layout In, value_layout Out>
struct copy_kernel {
  static LOCKSTEP_ALWAYS_INLINE void run(const float* LOCKSTEP_RESTRICT x, float* LOCKSTEP_RESTRICT y) {
    if constexpr (In.is_plain() && Out.is_plain()) {
      __builtin_memcpy(y, x, sizeof(float) * static_cast<std::size_t>(In.elements()));
    } else {
      // Both have the same elements; the one that is flat has no channels.
      constexpr value_layout by = In.elements() == In.channels ? Out : In;
      for (std::int64_t c = 0, i = 0; c < by.channels; ++c)
        for (std::int64_t h = 0; h < by.height; ++h)
          for (std::int64_t w = 0; w < by.width; ++w, ++i) {
            const std::int64_t from = In.is_plain() ? i : In.at(c, h, w);
            const std::int64_t to = Out.is_plain() ? i : Out.at(c, h, w);
            y[to] = x[from];
          }
    }
    for (std::int64_t i = Out.elements(); Out.is_plain() && i < Out.size; ++i) y[i] = 0;
  }
};

/// Writes a value's channels into channels [First, ...) of another of more channels.
template <value_layout In, value_layout Out, std::int64_t First>
struct channel_copy_kernel {
  static LOCKSTEP_ALWAYS_INLINE void run(const float* LOCKSTEP_RESTRICT x, float* LOCKSTEP_RESTRICT y) {
    if constexpr (In.is_plain() && Out.is_plain()) {
      __builtin_memcpy(y + First * Out.channel_step, x, sizeof(float) * static_cast<std::size_t>(In.elements()));
    } else {
      for (std::int64_t h = 0; h < In.height; ++h)
        for (std::int64_t w = 0; w < In.width; ++w)
          for (std::int64_t c = 0; c < In.channels; ++c) y[Out.at(First + c, h, w)] = x[In.at(c, h, w)];
    }
  }
};

/// Zeroes what a layout has beyond its elements.
template <value_layout L>
LOCKSTEP_ALWAYS_INLINE void clear_gaps(float* y) {
  if constexpr (L.size == L.elements()) return;
  if constexpr (L.is_plain()) {
    for (std::int64_t i = L.elements(); i < L.size; ++i) y[i] = 0;
  } else if constexpr (L.is_channels_last()) {
    for (std::int64_t h = 0; h < L.height; ++h)
      for (std::int64_t w = 0; w < L.width; ++w)
        for (std::int64_t c = L.channels; c < L.pixel_step; ++c) y[L.at(c, h, w)] = 0;
  } else {
    constexpr std::int64_t row = L.height == 1 ? L.channel_step : L.row_step;
    for (std::int64_t c = 0; c < L.channels; ++c) {
      for (std::int64_t h = 0; h < L.height; ++h)
        for (std::int64_t w = L.width; w < row; ++w)
          if (h * row + w < L.channel_step || L.channels == 1) y[L.at(c, h, w)] = 0;
      for (std::int64_t i = L.height * row; i < L.channel_step; ++i) y[c * L.channel_step + i] = 0;
    }
  }
}

}  // namespace lockstep::detail::infer
