// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>

#include <lockstep/backend/cpu/normalise.hpp>
#include <lockstep/backend/cpu/row_statistics.hpp>
#include <lockstep/backend/cpu/simd.hpp>
#include <lockstep/backend/host_sample_norm.hpp>
#include <lockstep/backend/sample_norm_geometry.hpp>
#include <lockstep/core/config.hpp>
#include <lockstep/core/tensor.hpp>

/// \file
/// Normalisation of one channels-last picture by groups of channels: sums by channel first, then over the channels of a
/// group in double precision.

namespace lockstep::cpu_backend::column_norm {

using row_norm::statistics;

/// By channel: the sums of g and of g (x - centre), where g is dy if it is `Given`, else x - centre. The kernel
/// reads rows piece by piece, in the order of memory. It adds the rows of a piece to four sums in turn, so that an
/// addition need not wait for the one before it.
template <bool Given>
struct moments_kernel {
  static constexpr std::int64_t piece = 4 * normalise_rows;

  template <class V>
  static LOCKSTEP_ALWAYS_INLINE void run(std::int64_t rows, std::int64_t channels, const float* x, const float* dy,
                                         const float* centre, double* sums, double* products) {
    std::fill_n(sums, channels, 0.0);
    std::fill_n(products, channels, 0.0);
    for (std::int64_t first = 0; first < rows; first += piece) {
      const std::int64_t last = (std::min)(rows, first + piece);
      for (std::int64_t c = 0; c < channels; c += lanes<V>) {
        V from;
        load(from, centre + c);
        V sum[4] = {};
        V product[4] = {};
        std::int64_t r = first;
        for (; r + 4 <= last; r += 4)
#pragma GCC unroll 4
          for (int k = 0; k < 4; ++k) add(x, dy, (r + k) * channels + c, from, sum[k], product[k]);
        for (; r < last; ++r) add(x, dy, r * channels + c, from, sum[0], product[0]);
        add_lanes(sums + c, (sum[0] + sum[2]) + (sum[1] + sum[3]));
        add_lanes(products + c, (product[0] + product[2]) + (product[1] + product[3]));
      }
    }
  }
  template <class V>
  static LOCKSTEP_ALWAYS_INLINE void add(const float* x, const float* dy, std::int64_t i, const V& centre, V& sum,
                                         V& product) {
    V distance;
    load(distance, x + i);
    distance -= centre;
    V g = distance;
    if constexpr (Given) load(g, dy + i);
    sum += g;
    product += g * distance;
  }
};

/// Normalises one picture at a time, whose channels are a multiple of eight. Keeps memory for a few numbers for each
/// channel.
template <sample_norm_geometry G>
class pictures {
  static constexpr std::int64_t channels = G.layout.channels;
  static constexpr std::int64_t pixels = G.layout.pixels;

 public:
  pictures() : floats_(4 * channels), doubles_(2 * channels) {}

  /// Writes the statistics of all groups, and y.
  void forward(double epsilon, const float* x, const float* w, const float* b, statistics* all, float* y) {
    measure(epsilon, x, all);
    each_channel(all, [&](std::int64_t c, const statistics& s) {
      const double factor = double{s.inverse} * (G.weight ? double{w[c]} : 1.0);
      scale()[c] = static_cast<float>(factor);
      shift()[c] = static_cast<float>((G.bias ? double{b[c]} : 0.0) - double{s.rest} * factor);
    });
    const float* const addend = nullptr;
    by_channels<normalise_kernel>(x, centre(), scale(), shift(), addend, G.relu, y);
  }

  /// Adds each channel's sums of dy and dy h to `sums` and `products`; writes dx.
  void backward(const float* x, const float* dy, const float* w, const statistics* all, float* dx, double* sums,
                double* products) {
    each_channel(all, [&](std::int64_t c, const statistics& s) { centre()[c] = s.centre; });
    measure_with<true>(x, dy);
    double* const own_sums = doubles_.data();
    double* const own_products = doubles_.data() + channels;
    each_channel(all, [&](std::int64_t c, const statistics& s) {
      own_products[c] = (own_products[c] - own_sums[c] * double{s.rest}) * double{s.inverse};
      sums[c] += own_sums[c];
      products[c] += own_products[c];
    });
    if constexpr (!G.input_gradient) return;
    const double share = 1 / static_cast<double>(G.size());
    for (std::int64_t group = 0; group < G.groups; ++group) {
      double gradient = 0;
      double product = 0;
      for (std::int64_t c = group * G.channels(); c < (group + 1) * G.channels(); ++c) {
        const double factor = G.weight ? double{w[c]} : 1.0;
        gradient += factor * own_sums[c];
        product += factor * own_products[c];
      }
      const statistics& s = all[group];
      const double inverse{s.inverse};
      const double of_x = -inverse * inverse * product * share;
      const double mean = G.centred ? gradient * share : 0.0;
      for (std::int64_t c = group * G.channels(); c < (group + 1) * G.channels(); ++c) {
        scale()[c] = static_cast<float>(inverse * (G.weight ? double{w[c]} : 1.0));
        shift()[c] = static_cast<float>(of_x);
        constant()[c] = static_cast<float>(-inverse * mean - of_x * double{s.rest});
      }
    }
    by_channels<normalise_backward_kernel>(x, dy, centre(), scale(), shift(), constant(), dx);
  }

 private:
  [[nodiscard]] float* centre() { return floats_.data(); }
  [[nodiscard]] float* scale() { return floats_.data() + channels; }
  [[nodiscard]] float* shift() { return floats_.data() + 2 * channels; }
  [[nodiscard]] float* constant() { return floats_.data() + 3 * channels; }

  template <class Kernel, class... Arguments>
  static void by_channels(Arguments... arguments) {
    if (channels % lanes<float_x16> == 0 && has<float_x16>())
      run_for<float_x16, Kernel>(pixels, channels, arguments...);
    else
      run_for<float_x8, Kernel>(pixels, channels, arguments...);
  }
  template <bool Given>
  void measure_with(const float* x, const float* dy) {
    by_channels<moments_kernel<Given>>(x, dy, centre(), doubles_.data(), doubles_.data() + channels);
  }
  template <class F>
  static void each_channel(const statistics* all, const F& f) {
    for (std::int64_t c = 0; c < channels; ++c) f(c, all[c / G.channels()]);
  }
  [[nodiscard]] double sum_of(std::int64_t group, const double* by_channel) const {
    double sum = 0;
    for (std::int64_t c = group * G.channels(); c < (group + 1) * G.channels(); ++c) sum += by_channel[c];
    return sum;
  }

  /// As row_norm::measure. Leaves the groups' centres in centre().
  void measure(double epsilon, const float* x, statistics* all) {
    const double share = 1 / static_cast<double>(G.size());
    const auto set_centres = [&](auto value) {
      for (std::int64_t c = 0; c < channels; ++c) centre()[c] = value(c / G.channels());
    };
    if constexpr (G.centred) {
      set_centres([&](std::int64_t group) { return x[group * G.channels()]; });
      measure_with<false>(x, nullptr);
      for (std::int64_t group = 0; group < G.groups; ++group)
        all[group].centre =
            static_cast<float>(double{x[group * G.channels()]} + sum_of(group, doubles_.data()) * share);
    } else {
      for (std::int64_t group = 0; group < G.groups; ++group) all[group].centre = 0;
    }
    set_centres([&](std::int64_t group) { return all[group].centre; });
    measure_with<false>(x, nullptr);
    bool exact = true;
    for (std::int64_t group = 0; group < G.groups; ++group) {
      const double rest = G.centred ? sum_of(group, doubles_.data()) * share : 0.0;
      const double squares = sum_of(group, doubles_.data() + channels);
      statistics& s = all[group];
      s = row_norm::finished(s.centre, rest, squares * share, epsilon);
      if (std::isfinite(squares) && std::isfinite(s.inverse)) continue;
      s = row_norm::rounded(host::measure_group(G, epsilon, group, x));
      exact = false;
    }
    if (!exact) set_centres([&](std::int64_t group) { return all[group].centre; });
  }

  aligned_buffer<float> floats_;
  aligned_buffer<double> doubles_;
};

}  // namespace lockstep::cpu_backend::column_norm
