// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <algorithm>
#include <cstdint>

#include <lockstep/backend/cpu/array.hpp>
#include <lockstep/backend/geometry.hpp>
#include <lockstep/core/config.hpp>

/// \file
/// Matrix products with at most 16 outputs: the last layer of most classifiers. A general GEMM copies both operands
/// into packed buffers first, which costs more than the product itself; here every activation is read once.
///
/// Weights lie in panels of 64 inputs, (in / 64) x out x 64 and a shorter last panel: one panel stays in the
/// first-level cache, and rows do not lie a power of two apart, where they would compete for the same cache sets.

namespace lockstep::cpu_backend::narrow {

inline constexpr std::int64_t panel = 64;

/// Position of weight (o, i) in the flat range.
template <linear_geometry G>
[[nodiscard]] constexpr std::int64_t weight_offset(std::int64_t o, std::int64_t i) {
  const std::int64_t start = i / panel * panel;
  return start * G.out + o * (std::min)(panel, G.in - start) + (i - start);
}

/// `forward` for machines without vectors.
template <linear_geometry G>
void forward_portable(std::int64_t n, const float* LOCKSTEP_RESTRICT x, const float* LOCKSTEP_RESTRICT w,
                      const float* LOCKSTEP_RESTRICT b, float* LOCKSTEP_RESTRICT y) {
  for (std::int64_t s = 0; s < n; ++s) {
    array_of<float, G.out> sum = {};
    for (std::int64_t start = 0; start < G.in; start += panel) {
      const std::int64_t width = (std::min)(panel, G.in - start);
      for (std::int64_t o = 0; o < G.out; ++o) {
        float part = 0;
        for (std::int64_t i = 0; i < width; ++i) part += x[s * G.in + start + i] * w[start * G.out + o * width + i];
        sum[o] += part;
      }
    }
    for (std::int64_t o = 0; o < G.out; ++o) {
      const float v = sum[o] + (G.bias ? b[o] : 0.F);
      y[s * G.out + o] = G.relu ? (std::max)(v, 0.F) : v;
    }
  }
}

/// `backward` for machines without vectors.
template <linear_geometry G>
void backward_portable(std::int64_t n, const float* x, const float* LOCKSTEP_RESTRICT dy,
                       const float* LOCKSTEP_RESTRICT w, float* dx, float* LOCKSTEP_RESTRICT dw, bool accumulate) {
  for (std::int64_t start = 0; start < G.in; start += panel) {
    const std::int64_t width = (std::min)(panel, G.in - start);
    array_of<float, (G.out * panel)> sums = {};
    for (std::int64_t s = 0; s < n; ++s) {
      const float* xs = x + s * G.in + start;
      float back[panel] = {};
      for (std::int64_t o = 0; o < G.out; ++o) {
        const float d = dy[s * G.out + o];
        for (std::int64_t i = 0; i < width; ++i) {
          if constexpr (G.parameter_gradient) sums[o * width + i] += d * xs[i];
          if constexpr (G.input_gradient) back[i] += d * w[start * G.out + o * width + i];
        }
      }
      if constexpr (G.input_gradient)
        for (std::int64_t i = 0; i < width; ++i)
          dx[s * G.in + start + i] = G.mask_input && xs[i] <= 0.F ? 0.F : back[i];
    }
    if constexpr (G.parameter_gradient) {
      float* to = dw + start * G.out;
      for (std::int64_t i = 0; i < G.out * width; ++i) to[i] = accumulate ? to[i] + sums[i] : sums[i];
    }
  }
}

}  // namespace lockstep::cpu_backend::narrow
