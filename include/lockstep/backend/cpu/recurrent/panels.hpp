// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <algorithm>
#include <cstdint>

#include <lockstep/backend/cpu/simd.hpp>
#include <lockstep/backend/cpu/transpose.hpp>
#include <lockstep/core/config.hpp>

/// \file
/// The order of weight_hh that the steps of a recurrent layer read: packed once, and read once for every step.

namespace lockstep::cpu_backend::recurrence {

/// n as a multiple of `unit`, rounded up.
[[nodiscard]] constexpr std::int64_t padded(std::int64_t n, std::int64_t unit) { return (n + unit - 1) / unit * unit; }

/// Vectors side by side in a panel of the backward product.
inline constexpr int product_vectors = 2;
/// Vectors of any width fill rows of so many floats.
inline constexpr std::int64_t widest = product_vectors * lanes<float_x16>;

/// Floats of the packed weights, forward and backward, for vectors of any width.
[[nodiscard]] constexpr std::int64_t panels_size(std::int64_t gates, std::int64_t hidden) {
  return gates * hidden * padded(hidden, widest);
}

/// Panels of as many units as a vector has lanes: hidden x gates x lanes, the weights of each gate for one unit of the
/// state before. Units past the last have zeros.
struct pack_forward {
  template <class V>
  static LOCKSTEP_ALWAYS_INLINE void run(std::int64_t gates, std::int64_t hidden, const float* LOCKSTEP_RESTRICT w,
                                         float* LOCKSTEP_RESTRICT to) {
    const std::int64_t row = gates * lanes<V>;
    for (std::int64_t unit = 0; unit < hidden; unit += 8) {
      const std::int64_t lane = unit % lanes<V>;
      float* const panel = to + (unit - lane) * gates * hidden;
      if (lane == 0 && unit + lanes<V> > hidden) std::fill_n(panel, row * hidden, 0.F);
      for (std::int64_t g = 0; g < gates; ++g) {
        const float* const from = w + (g * hidden + unit) * hidden;
        float* const place = panel + g * lanes<V> + lane;
        std::int64_t k = 0;
        if (unit + 8 <= hidden)
          for (; k + 8 <= hidden; k += 8) transpose8(from + k, hidden, place + k * row, row);
        const std::int64_t count = (std::min)(std::int64_t{8}, hidden - unit);
        for (; k < hidden; ++k)
          for (std::int64_t u = 0; u < count; ++u) place[k * row + u] = from[u * hidden + k];
      }
    }
  }
};

/// Panels of `product_vectors` vectors of units: rows x width, the weights of each gate's row for these units.
template <class V>
void pack_backward(std::int64_t rows, std::int64_t hidden, const float* w, float* to) {
  constexpr std::int64_t width = product_vectors * lanes<V>;
  for (std::int64_t unit = 0; unit < hidden; unit += width)
    for (std::int64_t r = 0; r < rows; ++r, to += width) {
      const std::int64_t count = (std::min)(width, hidden - unit);
      std::copy_n(w + r * hidden + unit, count, to);
      std::fill_n(to + count, width - count, 0.F);
    }
}

}  // namespace lockstep::cpu_backend::recurrence
