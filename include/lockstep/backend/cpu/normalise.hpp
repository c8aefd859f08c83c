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

/// Rows that a kernel takes at a time, all channels of them, so that memory is read in its order and what is read twice
/// is still in the first-level cache. Sums over these rows are taken in float, all others in double.
inline constexpr std::int64_t normalise_rows = 32;
/// Channels that a kernel takes at a time.
inline constexpr std::int64_t normalise_channels = 128;

/// The end of the block of rows that begins at `first`.
[[nodiscard]] constexpr std::int64_t block_end(std::int64_t first, std::int64_t rows) {
  return (std::min)(rows, first + normalise_rows);
}

/// to[lane] += v[lane].
template <class V>
LOCKSTEP_ALWAYS_INLINE void add_lanes(double* to, const V& v) {
  for (std::int64_t j = 0; j < lanes<V>; ++j) to[j] += static_cast<double>(v[j]);
}

/// See host::measure_channels. A first pass finds the mean, a second one the distances from it.
struct measure_kernel {
  template <class V, class A>
  static LOCKSTEP_ALWAYS_INLINE void run(std::int64_t rows, std::int64_t channels, const A* x, double* mean,
                                         double* squares) {
    for (std::int64_t c = 0; c < channels; c += normalise_channels)
      measure<V>(rows, channels, (std::min)(normalise_channels, channels - c), x + c, mean + c, squares + c);
  }

 private:
  /// The first `width` of x's channels.
  template <class V, class A>
  static LOCKSTEP_ALWAYS_INLINE void measure(std::int64_t rows, std::int64_t channels, std::int64_t width, const A* x,
                                             double* mean, double* squares) {
    const auto count = static_cast<double>(rows);
    double sums[normalise_channels] = {};
    for (std::int64_t first = 0; first < rows; first += normalise_rows) {
      const std::int64_t last = block_end(first, rows);
      for (std::int64_t c = 0; c < width; c += lanes<V>) {
        V sum{};
        for (std::int64_t r = first; r < last; ++r) add_from(sum, x + r * channels + c);
        add_lanes(sums + c, sum);
      }
    }
    float centres[normalise_channels];
    for (std::int64_t c = 0; c < width; ++c) centres[c] = static_cast<float>(sums[c] / count);
    double distances[normalise_channels] = {};
    double totals[normalise_channels] = {};
    for (std::int64_t first = 0; first < rows; first += normalise_rows) {
      const std::int64_t last = block_end(first, rows);
      for (std::int64_t c = 0; c < width; c += lanes<V>) {
        V centre;
        load(centre, centres + c);
        V sum{};
        V total{};
        for (std::int64_t r = first; r < last; ++r) {
          V v;
          load(v, x + r * channels + c);
          v -= centre;
          sum += v;
          total += v * v;
        }
        add_lanes(distances + c, sum);
        add_lanes(totals + c, total);
      }
    }
    // The centre is rounded: what is left of the distances corrects mean and squares.
    for (std::int64_t c = 0; c < width; ++c) {
      mean[c] = double{centres[c]} + distances[c] / count;
      squares[c] = totals[c] - distances[c] * distances[c] / count;
    }
  }
};

/// See host::normalise, and, with an addend that is not null, host::normalise_and_add.
struct normalise_kernel {
  template <class V, class A>
  static LOCKSTEP_ALWAYS_INLINE void run(std::int64_t rows, std::int64_t channels, const A* x, const float* mean,
                                         const float* scale, const float* shift, const A* addend, bool with_relu,
                                         A* y) {
    for (std::int64_t first = 0; first < rows; first += normalise_rows) {
      const std::int64_t last = block_end(first, rows);
      for (std::int64_t c = 0; c < channels; c += lanes<V>) {
        V m, s, t;
        load(m, mean + c);
        load(s, scale + c);
        load(t, shift + c);
        for (std::int64_t r = first; r < last; ++r) {
          const std::int64_t at = r * channels + c;
          V v;
          load(v, x + at);
          v = (v - m) * s + t;
          if (addend != nullptr) add_from(v, addend + at);
          if (with_relu) relu(v);
          store(y + at, v);
        }
      }
    }
  }
};

/// See host::normalise_gradients.
struct normalise_gradients_kernel {
  template <class V, class A>
  static LOCKSTEP_ALWAYS_INLINE void run(std::int64_t rows, std::int64_t channels, const A* x, const A* y, A* dy,
                                         const float* mean, const float* inverse, double* sums, double* products) {
    std::fill_n(sums, channels, 0.0);
    std::fill_n(products, channels, 0.0);
    for (std::int64_t first = 0; first < rows; first += normalise_rows) {
      const std::int64_t last = block_end(first, rows);
      for (std::int64_t c = 0; c < channels; c += lanes<V>) {
        V m;
        load(m, mean + c);
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
        add_lanes(sums + c, sum);
        add_lanes(products + c, product);
      }
    }
    for (std::int64_t c = 0; c < channels; ++c) products[c] *= double{inverse[c]};
  }
};

/// See host::normalise_backward.
struct normalise_backward_kernel {
  template <class V, class A>
  static LOCKSTEP_ALWAYS_INLINE void run(std::int64_t rows, std::int64_t channels, const A* x, const A* dy,
                                         const float* mean, const float* a, const float* b, const float* d, A* dx) {
    for (std::int64_t first = 0; first < rows; first += normalise_rows) {
      const std::int64_t last = block_end(first, rows);
      for (std::int64_t c = 0; c < channels; c += lanes<V>) {
        V m, of_dy, of_x, constant;
        load(m, mean + c);
        load(of_dy, a + c);
        load(of_x, b + c);
        load(constant, d + c);
        for (std::int64_t r = first; r < last; ++r) {
          const std::int64_t at = r * channels + c;
          V g, v;
          load(g, dy + at);
          load(v, x + at);
          g = of_dy * g + of_x * (v - m) + constant;
          store(dx + at, g);
        }
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

template <class A>
void measure_channels(context&, std::int64_t samples, const channel_layout& layout, const A* x, double* mean,
                      double* squares) {
  // The squares of floats above 1e18 overflow; host::measure_channels takes them in double.
  if (!run_by_channels<measure_kernel>(samples, layout, x, mean, squares) ||
      !std::all_of(squares, squares + layout.channels, [](double s) { return std::isfinite(s); }))
    host::measure_channels(samples, layout, x, mean, squares);
}

template <class A>
void normalise(context&, std::int64_t samples, const channel_layout& layout, const A* x, const float* mean,
               const float* scale, const float* shift, bool relu, A* y) {
  const A* const addend = nullptr;
  if (!run_by_channels<normalise_kernel>(samples, layout, x, mean, scale, shift, addend, relu, y))
    host::normalise(samples, layout, x, mean, scale, shift, relu, y);
}

template <class A>
void normalise_and_add(context&, std::int64_t samples, const channel_layout& layout, const A* x, const float* mean,
                       const float* scale, const float* shift, const A* addend, bool relu, A* y) {
  if (!run_by_channels<normalise_kernel>(samples, layout, x, mean, scale, shift, addend, relu, y))
    host::normalise_and_add(samples, layout, x, mean, scale, shift, addend, relu, y);
}

template <class A>
void normalise_gradients(context&, std::int64_t samples, const channel_layout& layout, const A* x, const A* y, A* dy,
                         const float* mean, const float* inverse, double* sums, double* products) {
  if (!run_by_channels<normalise_gradients_kernel>(samples, layout, x, y, dy, mean, inverse, sums, products))
    host::normalise_gradients(samples, layout, x, y, dy, mean, inverse, sums, products);
}

template <class A>
void normalise_backward(context&, std::int64_t samples, const channel_layout& layout, const A* x, const A* dy,
                        const float* mean, const float* a, const float* b, const float* d, A* dx) {
  if (!run_by_channels<normalise_backward_kernel>(samples, layout, x, dy, mean, a, b, d, dx))
    host::normalise_backward(samples, layout, x, dy, mean, a, b, d, dx);
}

}  // namespace lockstep::cpu_backend
