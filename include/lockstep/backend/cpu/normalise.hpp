// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>

#include <lockstep/backend/channel_layout.hpp>
#include <lockstep/backend/cpu/context.hpp>
#include <lockstep/backend/cpu/simd.hpp>
#include <lockstep/backend/host_normalise.hpp>
#include <lockstep/core/config.hpp>

namespace lockstep::cpu_backend {

/// Rows whose sums are taken in float before they are added up in double.
inline constexpr std::int64_t normalise_rows = 32;

/// to[lane] += v[lane].
template <class V>
LOCKSTEP_ALWAYS_INLINE void add_lanes(double* to, const V& v) {
  for (std::int64_t j = 0; j < lanes<V>; ++j) to[j] += static_cast<double>(v[j]);
}

/// See host::measure_channels. A first pass finds the mean, a second one the distances from it.
struct measure_kernel {
  template <class V>
  static LOCKSTEP_ALWAYS_INLINE void run(std::int64_t rows, std::int64_t channels, const float* x, double* mean,
                                         double* squares) {
    const auto count = static_cast<double>(rows);
    for (std::int64_t c = 0; c < channels; c += lanes<V>) {
      double sums[lanes<V>] = {};
      for (std::int64_t first = 0; first < rows; first += normalise_rows) {
        const std::int64_t last = (std::min)(rows, first + normalise_rows);
        V sum{};
        for (std::int64_t r = first; r < last; ++r) add_from(sum, x + r * channels + c);
        add_lanes(sums, sum);
      }
      float centres[lanes<V>];
      for (std::int64_t j = 0; j < lanes<V>; ++j) centres[j] = static_cast<float>(sums[j] / count);
      V centre;
      load(centre, centres);
      double distances[lanes<V>] = {};
      double totals[lanes<V>] = {};
      for (std::int64_t first = 0; first < rows; first += normalise_rows) {
        const std::int64_t last = (std::min)(rows, first + normalise_rows);
        V sum{};
        V total{};
        for (std::int64_t r = first; r < last; ++r) {
          V v;
          load(v, x + r * channels + c);
          v -= centre;
          sum += v;
          total += v * v;
        }
        add_lanes(distances, sum);
        add_lanes(totals, total);
      }
      // The centre is rounded: what is left of the distances corrects mean and squares.
      for (std::int64_t j = 0; j < lanes<V>; ++j) {
        mean[c + j] = double{centres[j]} + distances[j] / count;
        squares[c + j] = totals[j] - distances[j] * distances[j] / count;
      }
    }
  }
};

/// See host::normalise.
struct normalise_kernel {
  template <class V>
  static LOCKSTEP_ALWAYS_INLINE void run(std::int64_t rows, std::int64_t channels, const float* x, const float* mean,
                                         const float* scale, const float* shift, bool with_relu, float* y) {
    for (std::int64_t c = 0; c < channels; c += lanes<V>) {
      V m, s, t;
      load(m, mean + c);
      load(s, scale + c);
      load(t, shift + c);
      for (std::int64_t r = 0; r < rows; ++r) {
        V v;
        load(v, x + r * channels + c);
        v = (v - m) * s + t;
        if (with_relu) relu(v);
        store(y + r * channels + c, v);
      }
    }
  }
};

/// See host::normalise_gradients.
struct normalise_gradients_kernel {
  template <class V>
  static LOCKSTEP_ALWAYS_INLINE void run(std::int64_t rows, std::int64_t channels, const float* x, const float* y,
                                         float* dy, const float* mean, const float* inverse, double* sums,
                                         double* products) {
    for (std::int64_t c = 0; c < channels; c += lanes<V>) {
      V m;
      load(m, mean + c);
      double sum_of[lanes<V>] = {};
      double product_of[lanes<V>] = {};
      for (std::int64_t first = 0; first < rows; first += normalise_rows) {
        const std::int64_t last = (std::min)(rows, first + normalise_rows);
        V sum{};
        V product{};
        for (std::int64_t r = first; r < last; ++r) {
          const std::int64_t at = r * channels + c;
          V g, v;
          load(g, dy + at);
          if (y != nullptr) {
            V out;
            load(out, y + at);
            mask(out, g);
            store(dy + at, g);
          }
          load(v, x + at);
          sum += g;
          product += g * (v - m);
        }
        add_lanes(sum_of, sum);
        add_lanes(product_of, product);
      }
      for (std::int64_t j = 0; j < lanes<V>; ++j) {
        sums[c + j] = sum_of[j];
        products[c + j] = product_of[j] * double{inverse[c + j]};
      }
    }
  }
};

/// See host::normalise_backward.
struct normalise_backward_kernel {
  template <class V>
  static LOCKSTEP_ALWAYS_INLINE void run(std::int64_t rows, std::int64_t channels, const float* x, const float* dy,
                                         const float* mean, const float* a, const float* b, const float* d, float* dx) {
    for (std::int64_t c = 0; c < channels; c += lanes<V>) {
      V m, of_dy, of_x, constant;
      load(m, mean + c);
      load(of_dy, a + c);
      load(of_x, b + c);
      load(constant, d + c);
      for (std::int64_t r = 0; r < rows; ++r) {
        const std::int64_t at = r * channels + c;
        V g, v;
        load(g, dy + at);
        load(v, x + at);
        g = of_dy * g + of_x * (v - m) + constant;
        store(dx + at, g);
      }
    }
  }
};

/// Calls Kernel::run with the widest vectors that divide the channels; false when there are none.
template <class Kernel, class... Arguments>
[[nodiscard]] bool run_by_channels(std::int64_t samples, const channel_layout& layout, Arguments... arguments) {
  if (!layout.is_rows() || !has_avx2() || layout.channels % lanes<float_x8> != 0) return false;
  const std::int64_t rows = samples * layout.pixels;
  if (has<float_x16>() && layout.channels % lanes<float_x16> == 0)
    run_for<float_x16, Kernel>(rows, layout.channels, arguments...);
  else
    run_for<float_x8, Kernel>(rows, layout.channels, arguments...);
  return true;
}

inline void measure_channels(context&, std::int64_t samples, const channel_layout& layout, const float* x, double* mean,
                             double* squares) {
  // The squares of floats above 1e18 overflow; host::measure_channels takes them in double.
  if (!run_by_channels<measure_kernel>(samples, layout, x, mean, squares) ||
      !std::all_of(squares, squares + layout.channels, [](double s) { return std::isfinite(s); }))
    host::measure_channels(samples, layout, x, mean, squares);
}

inline void normalise(context&, std::int64_t samples, const channel_layout& layout, const float* x, const float* mean,
                      const float* scale, const float* shift, bool relu, float* y) {
  if (!run_by_channels<normalise_kernel>(samples, layout, x, mean, scale, shift, relu, y))
    host::normalise(samples, layout, x, mean, scale, shift, relu, y);
}

inline void normalise_gradients(context&, std::int64_t samples, const channel_layout& layout, const float* x,
                                const float* y, float* dy, const float* mean, const float* inverse, double* sums,
                                double* products) {
  if (!run_by_channels<normalise_gradients_kernel>(samples, layout, x, y, dy, mean, inverse, sums, products))
    host::normalise_gradients(samples, layout, x, y, dy, mean, inverse, sums, products);
}

inline void normalise_backward(context&, std::int64_t samples, const channel_layout& layout, const float* x,
                               const float* dy, const float* mean, const float* a, const float* b, const float* d,
                               float* dx) {
  if (!run_by_channels<normalise_backward_kernel>(samples, layout, x, dy, mean, a, b, d, dx))
    host::normalise_backward(samples, layout, x, dy, mean, a, b, d, dx);
}

}  // namespace lockstep::cpu_backend
