// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <lockstep/core/config.hpp>

#include <cmath>
#include <cstdint>

#include <lockstep/backend/channel_layout.hpp>

/// \file
/// The softmax primitives by their definition, for backends whose memory the host reads.

namespace lockstep::host {

/// y = the softmax of the channels of each pixel, or its logarithm, computed in double. y may be x.
template <class A>
void softmax_rows(std::int64_t samples, const channel_layout& layout, bool logarithm, const A* x, A* y) {
  for (std::int64_t s = 0; s < samples; ++s, x += layout.size(), y += layout.size())
    for (std::int64_t p = 0; p < layout.pixels; ++p) {
      const auto in = [&](std::int64_t c) { return static_cast<double>(x[layout.at(c, p)]); };
      double top = in(0);
      for (std::int64_t c = 1; c < layout.channels; ++c) top = in(c) > top ? in(c) : top;
      double sum = 0;
      for (std::int64_t c = 0; c < layout.channels; ++c) sum += std::exp(in(c)-top);
      const double log_sum = std::log(sum);
      for (std::int64_t c = 0; c < layout.channels; ++c)
        y[layout.at(c, p)] = static_cast<A>(logarithm ? in(c)-top - log_sum : std::exp(in(c)-top) / sum);
    }
}

/// The gradient from the output y: dx = y (dy - sum of y dy), or dx = dy - e^y (sum of dy) for the logarithm, the sums
/// over the channels of a pixel. dx may be dy.
template <class A>
void softmax_rows_backward(std::int64_t samples, const channel_layout& layout, bool logarithm, const A* y, const A* dy,
                           A* dx) {
  for (std::int64_t s = 0; s < samples; ++s, y += layout.size(), dy += layout.size(), dx += layout.size())
    for (std::int64_t p = 0; p < layout.pixels; ++p) {
      const auto out = [&](std::int64_t c) { return static_cast<double>(y[layout.at(c, p)]); };
      const auto gradient = [&](std::int64_t c) { return static_cast<double>(dy[layout.at(c, p)]); };
      double sum = 0;
      for (std::int64_t c = 0; c < layout.channels; ++c) sum += logarithm ? gradient(c) : out(c) * gradient(c);
      for (std::int64_t c = 0; c < layout.channels; ++c)
        dx[layout.at(c, p)] =
            static_cast<A>(logarithm ? gradient(c) - std::exp(out(c)) * sum : out(c) * (gradient(c) - sum));
    }
}

}  // namespace lockstep::host
