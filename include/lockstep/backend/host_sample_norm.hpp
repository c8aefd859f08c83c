// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>

#include <lockstep/backend/sample_norm_geometry.hpp>
#include <lockstep/core/tensor.hpp>

/// \file
/// Normalisation by a sample's own statistics by its definition, for backends whose memory the host reads.

namespace lockstep::host {

/// What a group is normalised by.
struct group_statistics {
  double mean = 0;  ///< 0 unless the normalisation is centred
  double inverse = 1;
};

/// Calls f(offset, channel) for all elements of a group of a sample.
template <class F>
void each_of_group(const sample_norm_geometry& g, std::int64_t group, const F& f) {
  for (std::int64_t c = group * g.channels(); c < (group + 1) * g.channels(); ++c)
    for (std::int64_t p = 0; p < g.layout.pixels; ++p) f(g.layout.at(c, p), c);
}

/// mean = the mean of a group, or 0; inverse = 1 / sqrt(mean of (x - mean)^2 + epsilon). x is the sample.
template <class A>
[[nodiscard]] group_statistics measure_group(const sample_norm_geometry& g, double epsilon, std::int64_t group,
                                             const A* x) {
  const auto count = static_cast<double>(g.size());
  group_statistics s;
  if (g.centred) {
    // From the first element on, so that the mean of equal elements is that element.
    const auto origin = static_cast<double>(x[g.layout.at(group * g.channels(), 0)]);
    double sum = 0;
    each_of_group(g, group, [&](std::int64_t i, std::int64_t) { sum += static_cast<double>(x[i]) - origin; });
    s.mean = origin + sum / count;
  }
  double squares = 0;
  each_of_group(g, group, [&](std::int64_t i, std::int64_t) {
    const double distance = static_cast<double>(x[i]) - s.mean;
    squares += distance * distance;
  });
  s.inverse = 1 / std::sqrt(squares / count + epsilon);
  return s;
}

/// y = (x - mean) inverse w + b, or max(0, that) with NaN kept. w and b are null where the geometry has none.
template <class A>
void normalise_samples(const sample_norm_geometry& g, double epsilon, std::int64_t samples, const A* x, const A* w,
                       const A* b, A* y) {
  for (std::int64_t s = 0; s < samples; ++s, x += g.layout.size(), y += g.layout.size())
    for (std::int64_t group = 0; group < g.groups; ++group) {
      const group_statistics by = measure_group(g, epsilon, group, x);
      each_of_group(g, group, [&](std::int64_t i, std::int64_t c) {
        double value = (static_cast<double>(x[i]) - by.mean) * by.inverse;
        if (g.weight) value *= static_cast<double>(w[c]);
        if (g.bias) value += static_cast<double>(b[c]);
        y[i] = static_cast<A>(g.relu && value < 0 ? 0.0 : value);
      });
    }
}

/// With h = (x - mean) inverse, the normalised input, and means over a group:
/// dx = inverse (w dy - mean of w dy - h mean of (w dy h)), without the first mean unless the normalisation is centred;
/// dw (+)= the sum of dy h and db (+)= that of dy by channel, over all samples and pixels. dx may be x or dy. `sums` is
/// scratch: two numbers for each channel.
template <class A, class V>
void normalise_samples_backward(const sample_norm_geometry& g, double epsilon, std::int64_t samples, const A* x,
                                const A* dy, const A* w, A* dx, V* dw, V* db, bool accumulate, double* sums) {
  double* const products = sums + g.layout.channels;
  std::fill_n(sums, 2 * g.layout.channels, 0.0);
  const auto count = static_cast<double>(g.size());
  for (std::int64_t s = 0; s < samples; ++s) {
    for (std::int64_t group = 0; group < g.groups; ++group) {
      const group_statistics by = measure_group(g, epsilon, group, x);
      const auto weighted = [&](std::int64_t i, std::int64_t c) {
        return static_cast<double>(dy[i]) * (g.weight ? static_cast<double>(w[c]) : 1.0);
      };
      double sum = 0;
      double product = 0;
      each_of_group(g, group, [&](std::int64_t i, std::int64_t c) {
        const double h = (static_cast<double>(x[i]) - by.mean) * by.inverse;
        sums[c] += static_cast<double>(dy[i]);
        products[c] += static_cast<double>(dy[i]) * h;
        sum += weighted(i, c);
        product += weighted(i, c) * h;
      });
      if (!g.input_gradient) continue;
      const double mean = g.centred ? sum / count : 0.0;
      each_of_group(g, group, [&](std::int64_t i, std::int64_t c) {
        const double h = (static_cast<double>(x[i]) - by.mean) * by.inverse;
        dx[i] = static_cast<A>(by.inverse * (weighted(i, c) - mean - h * (product / count)));
      });
    }
    x += g.layout.size();
    dy += g.layout.size();
    if (g.input_gradient) dx += g.layout.size();
  }
  if (!g.parameter_gradient) return;
  const auto write = [&](const double* from, V* to) {
    for (std::int64_t c = 0; c < g.layout.channels; ++c) to[c] = static_cast<V>(from[c]) + (accumulate ? to[c] : V{0});
  };
  if (g.weight) write(products, dw);
  if (g.bias) write(sums, db);
}

/// The primitive by its definition, on activations A and gradients V.
template <class A, class V, sample_norm_geometry G>
class sample_norm {
 public:
  template <class Context>
  sample_norm(Context&, std::int64_t samples, double epsilon)
      : samples_(samples), epsilon_(epsilon), sums_(2 * G.layout.channels) {}
  void set_samples(std::int64_t samples) noexcept { samples_ = samples; }

  template <class Context>
  void forward(Context&, const A* x, const A* w, const A* b, A* y) const {
    normalise_samples(G, epsilon_, samples_, x, w, b, y);
  }
  template <class Context>
  void backward(Context&, const A* x, const A* dy, const A* w, A* dx, V* dw, V* db, bool accumulate) {
    normalise_samples_backward(G, epsilon_, samples_, x, dy, w, dx, dw, db, accumulate, sums_.data());
  }

 private:
  std::int64_t samples_;
  double epsilon_;
  aligned_buffer<double> sums_;
};

}  // namespace lockstep::host
