// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>

#include <lockstep/backend/channel_layout.hpp>
#include <lockstep/backend/cpu/context.hpp>
#include <lockstep/backend/cpu/map.hpp>
#include <lockstep/backend/cpu/simd.hpp>
#include <lockstep/backend/element_functions.hpp>
#include <lockstep/backend/host_softmax.hpp>
#include <lockstep/core/config.hpp>

namespace lockstep::cpu_backend {

/// Vectors whose elements are added up in float before they go into a sum in double.
inline constexpr std::int64_t softmax_vectors = 16;

/// The exponentials of a row of numbers, as a softmax and its logarithm need them.
struct row_exponentials {
  static constexpr float least = -std::numeric_limits<float>::infinity();

  /// The largest element that is a number.
  template <class V>
  static LOCKSTEP_ALWAYS_INLINE float largest(std::int64_t columns, const float* x) {
    V most;
    detail::fill(most, least);
    for (std::int64_t k = 0; k < columns; k += lanes<V>) {
      V v;
      load_first(v, x + k, columns - k, least);
      detail::take_larger(v, most);
      most = v;
    }
    float top = most[0];
    for (std::int64_t j = 1; j < lanes<V>; ++j) top = most[j] > top ? most[j] : top;
    return top;
  }

  /// The sum of e^(x - top), whose terms go to y unless that is null.
  template <class V>
  static LOCKSTEP_ALWAYS_INLINE double sum(std::int64_t columns, const float& top, const float* x, float* y) {
    V most;
    detail::fill(most, top);
    double sum = 0;
    for (std::int64_t first = 0; first < columns; first += softmax_vectors * lanes<V>) {
      const std::int64_t last = (std::min)(columns, first + softmax_vectors * lanes<V>);
      V total{};
      for (std::int64_t k = first; k < last; k += lanes<V>) {
        V v;
        load_first(v, x + k, last - k, least);
        v -= most;
        detail::take_exponential(v);
        total += v;
        if (y != nullptr) store_first(y + k, v, last - k);
      }
      sum += static_cast<double>(sum_lanes(total));
    }
    return sum;
  }
};

/// See host::softmax_rows, for rows that lie side by side.
struct softmax_kernel {
  template <class V>
  static LOCKSTEP_ALWAYS_INLINE void run(std::int64_t rows, std::int64_t columns, bool logarithm, const float* x,
                                         float* y) {
    for (std::int64_t r = 0; r < rows; ++r, x += columns, y += columns) {
      const float top = row_exponentials::largest<V>(columns, x);
      const double sum = row_exponentials::sum<V>(columns, top, x, logarithm ? nullptr : y);
      const auto log_sum = static_cast<float>(std::log(sum));
      const auto inverse = static_cast<float>(1 / sum);
      for (std::int64_t k = 0; k < columns; k += lanes<V>) {
        V v;
        load_first(v, (logarithm ? x : y) + k, columns - k);
        if (logarithm)
          v = (v - top) - log_sum;
        else
          v *= inverse;
        store_first(y + k, v, columns - k);
      }
    }
  }
};

/// See host::softmax_rows_backward, for rows that lie side by side.
struct softmax_backward_kernel {
  template <class V>
  static LOCKSTEP_ALWAYS_INLINE void run(std::int64_t rows, std::int64_t columns, bool logarithm, const float* y,
                                         const float* dy, float* dx) {
    for (std::int64_t r = 0; r < rows; ++r, y += columns, dy += columns, dx += columns) {
      double sum = 0;
      for (std::int64_t first = 0; first < columns; first += softmax_vectors * lanes<V>) {
        const std::int64_t last = (std::min)(columns, first + softmax_vectors * lanes<V>);
        V total{};
        for (std::int64_t k = first; k < last; k += lanes<V>) {
          V g, v;
          load_first(g, dy + k, last - k);
          load_first(v, y + k, last - k);
          if (!logarithm) g *= v;
          total += g;
        }
        sum += static_cast<double>(sum_lanes(total));
      }
      const auto total = static_cast<float>(sum);
      for (std::int64_t k = 0; k < columns; k += lanes<V>) {
        V g, v;
        load_first(g, dy + k, columns - k);
        load_first(v, y + k, columns - k);
        if (logarithm) {
          detail::take_exponential(v);
          g -= v * total;
        } else {
          g = v * (g - total);
        }
        store_first(dx + k, g, columns - k);
      }
    }
  }
};

/// The softmax of each row of channels, or its logarithm, as host::softmax_rows defines it. y may be x.
inline void softmax_rows(context&, std::int64_t samples, const channel_layout& layout, bool logarithm, const float* x,
                         float* y) {
  if (layout.is_rows())
    run_widest<softmax_kernel>(samples * layout.pixels, layout.channels, logarithm, x, y);
  else
    host::softmax_rows(samples, layout, logarithm, x, y);
}

/// Its gradient from the output. dx may be dy.
inline void softmax_rows_backward(context&, std::int64_t samples, const channel_layout& layout, bool logarithm,
                                  const float* y, const float* dy, float* dx) {
  if (layout.is_rows())
    run_widest<softmax_backward_kernel>(samples * layout.pixels, layout.channels, logarithm, y, dy, dx);
  else
    host::softmax_rows_backward(samples, layout, logarithm, y, dy, dx);
}

}  // namespace lockstep::cpu_backend
