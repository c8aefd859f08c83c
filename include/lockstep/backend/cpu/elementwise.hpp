// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <algorithm>
#include <cstdint>

#include <lockstep/backend/channel_layout.hpp>
#include <lockstep/backend/cpu/context.hpp>
#include <lockstep/backend/cpu/loop.hpp>
#include <lockstep/backend/dropout_mask.hpp>
#include <lockstep/backend/step_values.hpp>

namespace lockstep::cpu_backend {

/// y = max(0, x); NaN stays NaN, as in torch.nn.functional.relu. x and y may be the same range.
inline void relu_forward(context&, std::int64_t n, const float* x, float* y) {
  loop(n, [=](std::int64_t i) { y[i] = x[i] < 0.F ? 0.F : x[i]; });
}

/// dx = 0 where y <= 0, else dy (also where y is NaN, as in PyTorch). dy and dx may be the same range.
inline void relu_backward(context&, std::int64_t n, const float* y, const float* dy, float* dx) {
  loop(n, [=](std::int64_t i) {
    const float gradient = dy[i];  // read in any case, or compilers branch for every element
    dx[i] = y[i] <= 0.F ? 0.F : gradient;
  });
}

/// y = x * mask / (1 - p) for `samples` samples of `size` elements, channels-last when `picture` has rank 3. Serves
/// both forward and backward.
template <class A>
void dropout(context&, std::int64_t samples, std::int64_t size, const dims& picture, float p, const dropout_key& key,
             const A* x, A* y) {
  for (std::int64_t s = 0; s < samples; ++s)
    for_each_dropout_factor(key, s, size, picture, p, [&](std::int64_t i, float factor) {
      y[s * size + i] = static_cast<A>(x[s * size + i] * factor);
    });
}

/// y = x times the factor of its channel, see for_each_channel_factor. y may be x.
template <class A>
void dropout_channels(context&, std::int64_t samples, const channel_layout& layout, float p, const dropout_key& key,
                      const A* x, A* y) {
  constexpr std::int64_t most = 1024;  // factors at hand
  float factors[most];
  for (std::int64_t s = 0; s < samples; ++s, x += layout.size(), y += layout.size())
    for_each_channel_factor(key, s, layout.channels, p, [&](std::int64_t channel, float factor) {
      if (!layout.is_rows()) {
        const std::int64_t begin = channel * layout.pixels;
        loop(layout.pixels, [=](std::int64_t i) { y[begin + i] = static_cast<A>(x[begin + i] * factor); });
        return;
      }
      factors[channel % most] = factor;
      const bool full = channel % most == most - 1 || channel + 1 == layout.channels;
      const std::int64_t first = channel - channel % most;
      const float* const f = factors;
      for (std::int64_t pixel = 0; full && pixel < layout.pixels; ++pixel) {
        const std::int64_t begin = pixel * layout.channels + first;
        loop(channel + 1 - first, [=](std::int64_t i) { y[begin + i] = static_cast<A>(x[begin + i] * f[i]); });
      }
    });
}

/// y += x.
inline void add(context&, std::int64_t n, const float* LOCKSTEP_RESTRICT x, float* LOCKSTEP_RESTRICT y) {
  loop(n, [=](std::int64_t i) { y[i] += x[i]; });
}

/// y = a + b, or max(0, a + b) with NaN kept; y may be a or b, or both of them the same range.
inline void sum(context&, std::int64_t n, const float* a, const float* b, bool relu, float* y) {
  if (relu)
    loop(n, [=](std::int64_t i) {
      const float total = a[i] + b[i];
      y[i] = total < 0.F ? 0.F : total;
    });
  else
    loop(n, [=](std::int64_t i) { y[i] = a[i] + b[i]; });
}

/// Copies `rows` rows of `width` elements; rows begin `from_stride` and `to_stride` elements apart.
template <class A>
void copy_rows(context&, std::int64_t rows, std::int64_t width, const A* from, std::int64_t from_stride, A* to,
               std::int64_t to_stride) {
  for (std::int64_t r = 0; r < rows; ++r) std::copy_n(from + r * from_stride, width, to + r * to_stride);
}

/// sums[k] = the sum of the squares of the k-th block of `block` elements of x; the last block may be shorter. The
/// lanes and their order are fixed, so that cutting the range between blocks changes no bit.
inline void square_sums(context&, std::int64_t n, std::int64_t block, const float* x, double* sums) {
  constexpr std::int64_t lanes = 8;
  for (std::int64_t start = 0, k = 0; start < n; start += block, ++k) {
    const std::int64_t count = (std::min)(block, n - start);
    double lane[lanes] = {};
    std::int64_t i = 0;
    for (; i + lanes <= count; i += lanes)
      for (std::int64_t j = 0; j < lanes; ++j) {
        const double v = x[start + i + j];
        lane[j] += v * v;
      }
    for (; i < count; ++i) lane[i % lanes] += double{x[start + i]} * x[start + i];
    sums[k] = ((lane[0] + lane[4]) + (lane[2] + lane[6])) + ((lane[1] + lane[5]) + (lane[3] + lane[7]));
  }
}

/// y = each of `rows` rows of x, plus `row`. y may be x.
inline void add_row(context&, std::int64_t rows, std::int64_t width, const float* x, const float* row, float* y) {
  for (std::int64_t r = 0; r < rows; ++r, x += width, y += width)
    loop(width, [=](std::int64_t i) { y[i] = x[i] + row[i]; });
}

/// y = the means of the `rows` rows of each sample of x.
inline void mean_rows(context& c, std::int64_t samples, std::int64_t rows, std::int64_t width, const float* x,
                      float* y) {
  const float share = 1.F / static_cast<float>(rows);
  for (std::int64_t s = 0; s < samples; ++s, y += width) {
    std::copy_n(x, width, y);
    x += width;
    for (std::int64_t r = 1; r < rows; ++r, x += width) add(c, width, x, y);
    loop(width, [=](std::int64_t i) { y[i] *= share; });
  }
}
inline void mean_rows_backward(context&, std::int64_t samples, std::int64_t rows, std::int64_t width, const float* dy,
                               float* dx) {
  const float share = 1.F / static_cast<float>(rows);
  for (std::int64_t s = 0; s < samples; ++s, dy += width)
    for (std::int64_t r = 0; r < rows; ++r, dx += width) loop(width, [=](std::int64_t i) { dx[i] = dy[i] * share; });
}

}  // namespace lockstep::cpu_backend
