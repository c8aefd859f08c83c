// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <cstddef>
#include <cstdint>
#include <type_traits>

#include <lockstep/backend/cpu/row_statistics.hpp>
#include <lockstep/backend/cpu/simd.hpp>
#include <lockstep/backend/sample_norm_geometry.hpp>
#include <lockstep/core/config.hpp>

/// \file
/// Normalisation of groups whose elements follow each other.

namespace lockstep::cpu_backend::row_norm {

/// Runs Body<V> on the whole vectors of rows, and then Body<float> on the elements after them.
template <template <class, std::size_t> class Body, class V, std::size_t Rows, class... Arguments>
LOCKSTEP_ALWAYS_INLINE void each_of_rows(std::int64_t n, std::int64_t stride, const Arguments&... arguments) {
  const Body<V, Rows> body(stride, arguments...);
  std::int64_t i = 0;
  for (; i + lanes<V> <= n; i += lanes<V>) body.run(i);
  if (i == n) return;
  const Body<float, Rows> single(stride, arguments...);
  for (; i < n; ++i) single.run(i);
}

/// The means over a row of w dy and w dy h, where h is the normalised row.
struct means {
  float gradient = 0;
  float product = 0;
};

/// The elements of rows, normalised.
template <class E, std::size_t Rows, bool Centred>
struct normalised_rows {
  LOCKSTEP_ALWAYS_INLINE normalised_rows(std::int64_t apart, const float* of, const statistics (&s)[Rows])
      : x(of), stride(apart) {
#pragma GCC unroll 2
    for (int r = 0; r < static_cast<int>(Rows); ++r) {
      broadcast(centre[r], s[r].centre);
      broadcast(rest[r], s[r].rest);
      broadcast(inverse[r], s[r].inverse);
    }
  }
  LOCKSTEP_ALWAYS_INLINE void get(int r, std::int64_t i, E& h) const {
    load(h, x + r * stride + i);
    if constexpr (Centred) h = (h - centre[r]) - rest[r];
    h *= inverse[r];
  }
  const float* x;
  std::int64_t stride;
  E centre[Rows], rest[Rows], inverse[Rows];
};

/// A place in an array, if there is one.
template <bool Given, class T>
[[nodiscard]] LOCKSTEP_ALWAYS_INLINE T* offset(T* array, std::int64_t by) {
  return Given ? array + by : nullptr;
}

/// The kernels, for geometries that are G but for layout and groups. A row has a weight for each element, or one weight
/// for all of it (`Run`: the pixels of a channel).
template <sample_norm_geometry G, bool Run>
struct kernels {
  /// A vector of weights or biases, if the geometry has them.
  template <class E, bool Given>
  struct affine {
    LOCKSTEP_ALWAYS_INLINE explicit affine(const float* values) : from(values) {
      if constexpr (Run && Given) broadcast(same, *values);
    }
    LOCKSTEP_ALWAYS_INLINE void get(std::int64_t i, E& v) const {
      if constexpr (Run)
        v = same;
      else
        load(v, from + i);
    }
    const float* from;
    E same;
  };

  /// y = h w + b, or max(0, that).
  template <class E, std::size_t Rows>
  struct forward_body {
    LOCKSTEP_ALWAYS_INLINE forward_body(std::int64_t stride, const float* x, const statistics (&s)[Rows],
                                        const float* weight, const float* bias, float* to)
        : rows(stride, x, s), w(weight), b(bias), y(to) {}
    LOCKSTEP_ALWAYS_INLINE void run(std::int64_t i) const {
      E factor, term;
      if constexpr (G.weight) w.get(i, factor);
      if constexpr (G.bias) b.get(i, term);
#pragma GCC unroll 2
      for (int r = 0; r < static_cast<int>(Rows); ++r) {
        E v;
        rows.get(r, i, v);
        if constexpr (G.weight) v *= factor;
        if constexpr (G.bias) v += term;
        if constexpr (G.relu) cut(v);
        store(y + r * rows.stride + i, v);
      }
    }
    static LOCKSTEP_ALWAYS_INLINE void cut(E& v) {
      if constexpr (std::is_same_v<E, float>)
        v = v < 0.F ? 0.F : v;
      else
        relu(v);
    }
    normalised_rows<E, Rows, G.centred> rows;
    affine<E, G.weight> w;
    affine<E, G.bias> b;
    float* y;
  };

  /// A run has one weight: sums dy and dy h over it. A row has a weight for each element: sums w dy and w dy h over it,
  /// and adds dy h to `products` and dy to `gradients`, element by element.
  template <class E, std::size_t Rows>
  struct gradient_term {
    static constexpr bool adds_products = !Run && G.weight && G.parameter_gradient;
    static constexpr bool adds_gradients = !Run && G.bias && G.parameter_gradient;

    LOCKSTEP_ALWAYS_INLINE gradient_term(std::int64_t stride, const float* x, const statistics (&s)[Rows],
                                         const float* gradient, const float* weight, float* of_weight, float* of_bias)
        : rows(stride, x, s), dy(gradient), w(weight), products(of_weight), gradients(of_bias) {}
    LOCKSTEP_ALWAYS_INLINE void add(std::int64_t i, E (&sums)[Rows][2]) const {
      E factor, product, gradient;
      if constexpr (!Run && G.weight && G.input_gradient) load(factor, w + i);
      if constexpr (adds_products) load(product, products + i);
      if constexpr (adds_gradients) load(gradient, gradients + i);
#pragma GCC unroll 2
      for (int r = 0; r < static_cast<int>(Rows); ++r) {
        E h, g;
        rows.get(r, i, h);
        load(g, dy + r * rows.stride + i);
        if constexpr (adds_products) product += g * h;
        if constexpr (adds_gradients) gradient += g;
        if constexpr (!Run && !G.input_gradient) continue;
        if constexpr (!Run && G.weight) g *= factor;
        sums[r][0] += g;
        sums[r][1] += g * h;
      }
      if constexpr (adds_products) store(products + i, product);
      if constexpr (adds_gradients) store(gradients + i, gradient);
    }
    normalised_rows<E, Rows, G.centred> rows;
    const float* dy;
    const float* w;
    float* products;
    float* gradients;
  };

  /// dx = inverse (w dy - mean of w dy - h mean of (w dy h)).
  template <class E, std::size_t Rows>
  struct backward_body {
    LOCKSTEP_ALWAYS_INLINE backward_body(std::int64_t stride, const float* x, const statistics (&s)[Rows],
                                         const float* gradient, const float* weight, const means (&of)[Rows], float* to)
        : rows(stride, x, s), dy(gradient), w(weight), dx(to) {
#pragma GCC unroll 2
      for (int r = 0; r < static_cast<int>(Rows); ++r) {
        broadcast(mean[r], of[r].gradient);
        broadcast(product[r], of[r].product);
      }
    }
    LOCKSTEP_ALWAYS_INLINE void run(std::int64_t i) const {
      E factor;
      if constexpr (G.weight) w.get(i, factor);
#pragma GCC unroll 2
      for (int r = 0; r < static_cast<int>(Rows); ++r) {
        E h, g;
        rows.get(r, i, h);
        load(g, dy + r * rows.stride + i);
        if constexpr (G.weight) g *= factor;
        if constexpr (G.centred) g -= mean[r];
        g = (g - h * product[r]) * rows.inverse[r];
        store(dx + r * rows.stride + i, g);
      }
    }
    normalised_rows<E, Rows, G.centred> rows;
    const float* dy;
    affine<E, G.weight> w;
    float* dx;
    E mean[Rows], product[Rows];
  };
};

/// Rows with a weight for each element, which begin `stride` elements apart. Writes the statistics of each.
template <sample_norm_geometry G>
struct forward_kernel {
  template <class V>
  static LOCKSTEP_ALWAYS_INLINE void run(std::int64_t rows, std::int64_t n, std::int64_t stride, double epsilon,
                                         const float* x, const float* w, const float* b, statistics* all, float* y) {
    std::int64_t r = 0;
    for (; r + 2 <= rows; r += 2) some<V, 2>(n, stride, epsilon, x + r * stride, w, b, all + r, y + r * stride);
    if (r < rows) some<V, 1>(n, stride, epsilon, x + r * stride, w, b, all + r, y + r * stride);
  }
  template <class V, std::size_t Rows>
  static LOCKSTEP_ALWAYS_INLINE void some(std::int64_t n, std::int64_t stride, double epsilon, const float* x,
                                          const float* w, const float* b, statistics* all, float* y) {
    statistics s[Rows];
    measure<V>(n, stride, x, G.centred, epsilon, s);
    each_of_rows<kernels<G, false>::template forward_body, V, Rows>(n, stride, x, s, w, b, y);
#pragma GCC unroll 2
    for (int r = 0; r < static_cast<int>(Rows); ++r) all[r] = s[r];
  }
};

/// The gradients of these rows; adds their sums of dy h and dy to `products` and `gradients`.
template <sample_norm_geometry G>
struct backward_kernel {
  template <class V>
  static LOCKSTEP_ALWAYS_INLINE void run(std::int64_t rows, std::int64_t n, std::int64_t stride, const float* x,
                                         const float* dy, const float* w, const statistics* all, float* dx,
                                         float* products, float* gradients) {
    std::int64_t r = 0;
    for (; r + 2 <= rows; r += 2)
      some<V, 2>(n, stride, x + r * stride, dy + r * stride, w, all + r, offset<G.input_gradient>(dx, r * stride),
                 products, gradients);
    if (r < rows)
      some<V, 1>(n, stride, x + r * stride, dy + r * stride, w, all + r, offset<G.input_gradient>(dx, r * stride),
                 products, gradients);
  }
  template <class V, std::size_t Rows>
  static LOCKSTEP_ALWAYS_INLINE void some(std::int64_t n, std::int64_t stride, const float* x, const float* dy,
                                          const float* w, const statistics* all, float* dx, float* products,
                                          float* gradients) {
    statistics s[Rows];
#pragma GCC unroll 2
    for (int r = 0; r < static_cast<int>(Rows); ++r) s[r] = all[r];
    double sums[Rows][2] = {};
    sum_rows<kernels<G, false>::template gradient_term, V>(n, stride, sums, x, s, dy, w, products, gradients);
    if constexpr (!G.input_gradient) return;
    const double share = 1 / static_cast<double>(n);
    means of[Rows];
#pragma GCC unroll 2
    for (int r = 0; r < static_cast<int>(Rows); ++r)
      of[r] = {static_cast<float>(sums[r][0] * share), static_cast<float>(sums[r][1] * share)};
    each_of_rows<kernels<G, false>::template backward_body, V, Rows>(n, stride, x, s, dy, w, of, dx);
  }
};

/// One group of `channels` runs of `pixels` elements; a run has one weight.
template <sample_norm_geometry G>
struct forward_runs_kernel {
  template <class V>
  static LOCKSTEP_ALWAYS_INLINE void run(std::int64_t channels, std::int64_t pixels, double epsilon, const float* x,
                                         const float* w, const float* b, statistics* all, float* y) {
    statistics s[1];
    measure<V>(channels * pixels, 0, x, G.centred, epsilon, s);
    for (std::int64_t c = 0; c < channels; ++c)
      each_of_rows<kernels<G, true>::template forward_body, V, 1>(pixels, 0, x + c * pixels, s, offset<G.weight>(w, c),
                                                                  offset<G.bias>(b, c), y + c * pixels);
    *all = s[0];
  }
};

/// The gradient of this group; adds each channel's sums of dy and dy h to `sums` and `products`.
template <sample_norm_geometry G>
struct backward_runs_kernel {
  template <class V>
  static LOCKSTEP_ALWAYS_INLINE void run(std::int64_t channels, std::int64_t pixels, const float* x, const float* dy,
                                         const float* w, const statistics* all, float* dx, double* sums,
                                         double* products) {
    const statistics s[1] = {*all};
    double total = 0;
    double product = 0;
    for (std::int64_t c = 0; c < channels; ++c) {
      double own[1][2] = {};
      sum_rows<kernels<G, true>::template gradient_term, V>(pixels, 0, own, x + c * pixels, s, dy + c * pixels, nullptr,
                                                            nullptr, nullptr);
      const double factor = G.weight ? double{w[c]} : 1.0;
      total += factor * own[0][0];
      product += factor * own[0][1];
      sums[c] += own[0][0];
      products[c] += own[0][1];
    }
    if constexpr (!G.input_gradient) return;
    const double share = 1 / static_cast<double>(channels * pixels);
    const means of[1] = {{static_cast<float>(total * share), static_cast<float>(product * share)}};
    for (std::int64_t c = 0; c < channels; ++c)
      each_of_rows<kernels<G, true>::template backward_body, V, 1>(pixels, 0, x + c * pixels, s, dy + c * pixels,
                                                                   offset<G.weight>(w, c), of, dx + c * pixels);
  }
};

}  // namespace lockstep::cpu_backend::row_norm
