// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <cstdint>

#include <lockstep/backend/channel_layout.hpp>

/// \file
/// The primitives of batch normalisation by their definition, for backends whose memory the host reads.

namespace lockstep::host {

/// Calls f(offset) for all elements of a channel.
template <class F>
void each_of_channel(std::int64_t samples, const channel_layout& layout, std::int64_t channel, const F& f) {
  for (std::int64_t s = 0; s < samples; ++s)
    for (std::int64_t p = 0; p < layout.pixels; ++p) f(s * layout.size() + layout.at(channel, p));
}

/// For each channel: the mean of its elements, and the sum of their squared distances from it.
template <class A>
void measure_channels(std::int64_t samples, const channel_layout& layout, const A* x, double* mean, double* squares) {
  const auto count = static_cast<double>(samples * layout.pixels);
  for (std::int64_t c = 0; c < layout.channels; ++c) {
    double sum = 0;
    each_of_channel(samples, layout, c, [&](std::int64_t i) { sum += static_cast<double>(x[i]); });
    const double centre = sum / count;
    double total = 0;
    each_of_channel(samples, layout, c, [&](std::int64_t i) {
      const double distance = static_cast<double>(x[i]) - centre;
      total += distance * distance;
    });
    mean[c] = centre;
    squares[c] = total;
  }
}

/// y = (x - mean) scale + shift by channel, or max(0, that) with NaN kept.
template <class A, class V>
void normalise(std::int64_t samples, const channel_layout& layout, const A* x, const V* mean, const V* scale,
               const V* shift, bool relu, A* y) {
  for (std::int64_t c = 0; c < layout.channels; ++c)
    each_of_channel(samples, layout, c, [&](std::int64_t i) {
      const V value = (static_cast<V>(x[i]) - mean[c]) * scale[c] + shift[c];
      y[i] = static_cast<A>(relu && value < V{0} ? V{0} : value);
    });
}

/// y = (x - mean) scale + shift + addend by channel, or max(0, that) with NaN kept; y may be the addend. The bits are
/// those of `normalise` and an addition after it, where A is V.
template <class A, class V>
void normalise_and_add(std::int64_t samples, const channel_layout& layout, const A* x, const V* mean, const V* scale,
                       const V* shift, const A* addend, bool relu, A* y) {
  for (std::int64_t c = 0; c < layout.channels; ++c)
    each_of_channel(samples, layout, c, [&](std::int64_t i) {
      const V value = (static_cast<V>(x[i]) - mean[c]) * scale[c] + shift[c] + static_cast<V>(addend[i]);
      y[i] = static_cast<A>(relu && value < V{0} ? V{0} : value);
    });
}

/// First dy = 0 where y <= 0, unless y is null. Then, for each channel: the sums of dy and of dy (x - mean) inverse.
template <class A, class V>
void normalise_gradients(std::int64_t samples, const channel_layout& layout, const A* x, const A* y, A* dy,
                         const V* mean, const V* inverse, double* sums, double* products) {
  for (std::int64_t c = 0; c < layout.channels; ++c) {
    double sum = 0;
    double product = 0;
    each_of_channel(samples, layout, c, [&](std::int64_t i) {
      if (y != nullptr && y[i] <= A{0}) dy[i] = A{0};
      sum += static_cast<double>(dy[i]);
      product += static_cast<double>(dy[i]) * (static_cast<double>(x[i]) - static_cast<double>(mean[c]));
    });
    sums[c] = sum;
    products[c] = product * static_cast<double>(inverse[c]);
  }
}

/// dx = a dy + b (x - mean) + d by channel; dx may be dy.
template <class A, class V>
void normalise_backward(std::int64_t samples, const channel_layout& layout, const A* x, const A* dy, const V* mean,
                        const V* a, const V* b, const V* d, A* dx) {
  for (std::int64_t c = 0; c < layout.channels; ++c)
    each_of_channel(samples, layout, c, [&](std::int64_t i) {
      dx[i] = static_cast<A>(a[c] * static_cast<V>(dy[i]) + b[c] * (static_cast<V>(x[i]) - mean[c]) + d[c]);
    });
}

}  // namespace lockstep::host
