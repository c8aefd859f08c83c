// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <cstdint>

#include <lockstep/backend/cpu/context.hpp>
#include <lockstep/core/shape.hpp>

namespace lockstep::cpu_backend {

/// Copies n samples of channels x height x width from plain to channels-last order. Cost: one read and one write of
/// each element.
template <class A>
void to_channels_last(context&, std::int64_t n, const dims& d, const A* x, A* y) {
  const std::int64_t channels = d[0];
  const std::int64_t pixels = d[1] * d[2];
  for (std::int64_t s = 0; s < n; ++s, x += channels * pixels, y += channels * pixels) {
    if (channels == 3) {  // pictures: three streams in, one out, no strided loop
      for (std::int64_t i = 0; i < pixels; ++i) {
        y[3 * i] = x[i];
        y[3 * i + 1] = x[pixels + i];
        y[3 * i + 2] = x[2 * pixels + i];
      }
    } else {
      for (std::int64_t i = 0; i < pixels; ++i)
        for (std::int64_t c = 0; c < channels; ++c) y[i * channels + c] = x[c * pixels + i];
    }
  }
}

/// Copies n samples from channels-last to plain order.
template <class A>
void to_plain(context&, std::int64_t n, const dims& d, const A* x, A* y) {
  const std::int64_t channels = d[0];
  const std::int64_t pixels = d[1] * d[2];
  for (std::int64_t s = 0; s < n; ++s, x += channels * pixels, y += channels * pixels)
    for (std::int64_t c = 0; c < channels; ++c)
      for (std::int64_t i = 0; i < pixels; ++i) y[c * pixels + i] = x[i * channels + c];
}

}  // namespace lockstep::cpu_backend
