// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <lockstep/core/config.hpp>

#include <algorithm>
#include <array>
#include <cstdint>
#include <string_view>
#include <vector>

#include <lockstep/backend/backend.hpp>
#include <lockstep/backend/capabilities.hpp>
#include <lockstep/backend/dropout_mask.hpp>
#include <lockstep/backend/host_attention.hpp>
#include <lockstep/backend/host_embedding.hpp>
#include <lockstep/backend/host_loss.hpp>
#include <lockstep/backend/host_map.hpp>
#include <lockstep/backend/host_memory.hpp>
#include <lockstep/backend/host_normalise.hpp>
#include <lockstep/backend/host_recurrent.hpp>
#include <lockstep/backend/host_rows.hpp>
#include <lockstep/backend/host_sample_norm.hpp>
#include <lockstep/backend/host_softmax.hpp>
#include <lockstep/backend/reference/convolution.hpp>
#include <lockstep/backend/reference/linear.hpp>
#include <lockstep/backend/reference/pooling.hpp>
#include <lockstep/backend/reference/product.hpp>
#include <lockstep/backend/reference/resampling.hpp>
#include <lockstep/backend/reference/transposed_convolution.hpp>
#include <lockstep/backend/rule.hpp>
#include <lockstep/backend/tree_sum.hpp>

namespace lockstep {

/// The backend that tests compare other backends with: every primitive by its definition, in double precision by
/// default, so that finite differences can check a layer. Not meant to be fast.
///
/// When A is not T, it computes passes in A and keeps parameters and gradients in T.
template <class T = double, class A = T>
struct reference : host::synchronous<reference_backend::context> {
  using value_type = T;
  using activation_type = A;
  using context = reference_backend::context;

  static constexpr std::string_view name = "reference";
  static constexpr element_order picture_order = element_order::plain;
  static constexpr std::int64_t cache_bytes = std::int64_t{1} << 40U;
  static constexpr std::int64_t largest_pass = 256;

  template <linear_geometry G>
  using linear = reference_backend::linear<T, A, G>;
  template <convolution_geometry G>
  using convolution = reference_backend::convolution<T, A, G>;
  template <transposed_convolution_geometry G>
  using transposed_convolution = reference_backend::transposed_convolution<T, A, G>;
  template <pooling_geometry G>
  using pooling = reference_backend::pooling<A, G>;
  template <embedding_geometry G>
  using embedding =
      host::embedding<A, T, G, linear<linear_geometry{.in = G.width, .out = G.vocabulary, .bias = false}>>;
  template <sample_norm_geometry G>
  using sample_norm = host::sample_norm<A, T, G>;
  template <attention_geometry G>
  using attention = host::attention<A, G>;
  template <resampling_geometry G>
  using resampling = reference_backend::resampling<T, A, G>;
  template <recurrent_geometry G>
  using recurrent = host::recurrent<A, T, G>;

  template <class From, class To>
  static void convert(context&, std::int64_t n, const From* from, To* to) {
    std::transform(from, from + n, to, [](From v) { return static_cast<To>(v); });
  }
  static void relu_forward(context&, std::int64_t n, const A* x, A* y) {
    std::transform(x, x + n, y, [](A v) { return v < A{0} ? A{0} : v; });
  }
  static void relu_backward(context&, std::int64_t n, const A* y, const A* dy, A* dx) {
    for (std::int64_t i = 0; i < n; ++i) dx[i] = y[i] <= A{0} ? A{0} : dy[i];
  }
  static void dropout(context&, std::int64_t samples, std::int64_t size, const dims& picture, float p,
                      const dropout_key& key, const A* x, A* y) {
    for (std::int64_t s = 0; s < samples; ++s)
      for_each_dropout_factor(key, s, size, picture, p, [&](std::int64_t i, float factor) {
        y[s * size + i] = x[s * size + i] * static_cast<A>(factor);
      });
  }
  template <class E>
  static void to_channels_last(context&, std::int64_t n, const dims& d, const E* x, A* y) {
    for (std::int64_t s = 0; s < n; ++s)
      for (std::int64_t c = 0; c < d[0]; ++c)
        for (std::int64_t p = 0; p < d[1] * d[2]; ++p)
          y[s * d.size() + p * d[0] + c] = static_cast<A>(x[s * d.size() + c * d[1] * d[2] + p]);
  }
  static void to_plain(context&, std::int64_t n, const dims& d, const A* x, A* y) {
    for (std::int64_t s = 0; s < n; ++s)
      for (std::int64_t c = 0; c < d[0]; ++c)
        for (std::int64_t p = 0; p < d[1] * d[2]; ++p)
          y[s * d.size() + c * d[1] * d[2] + p] = x[s * d.size() + p * d[0] + c];
  }
  static void softmax_cross_entropy(context&, std::int64_t rows, const cross_entropy_arguments& a, const A* logits,
                                    const std::int64_t* targets, A* dlogits, const step_values* now, double* sum) {
    *sum += host::softmax_cross_entropy(rows, a, logits, targets, dlogits, dlogits == nullptr ? 1.0 : now->scale);
  }
  static void squared_error(context&, std::int64_t n, const A* y, const T* t, A* dy, const step_values* now,
                            double* sum) {
    *sum += host::squared_error(n, y, t, dy, dy == nullptr ? 1.0 : now->scale);
  }
  template <class Rule>
  static void element_loss(context&, std::int64_t samples, std::int64_t size, const Rule& rule, const T* weights,
                           const A* y, const T* t, A* dy, const step_values* now, double* sum) {
    *sum += host::element_loss(samples, size, rule, weights, y, t, dy, dy == nullptr ? 1.0 : now->scale);
  }
  static void negative_log_likelihood(context&, std::int64_t rows, const cross_entropy_arguments& a, const A* y,
                                      const std::int64_t* targets, A* dy, const step_values* now, double* sum) {
    *sum += host::negative_log_likelihood(rows, a, y, targets, dy, dy == nullptr ? 1.0 : now->scale);
  }
  static void add(context&, std::int64_t n, const T* x, T* y) {
    for (std::int64_t i = 0; i < n; ++i) y[i] += x[i];
  }
  static void sum(context&, std::int64_t n, const A* a, const A* b, bool relu, A* y) {
    for (std::int64_t i = 0; i < n; ++i) {
      const A total = a[i] + b[i];
      y[i] = relu && total < A{0} ? A{0} : total;
    }
  }
  static void copy_rows(context&, std::int64_t rows, std::int64_t width, const A* from, std::int64_t from_stride, A* to,
                        std::int64_t to_stride) {
    for (std::int64_t r = 0; r < rows; ++r) std::copy_n(from + r * from_stride, width, to + r * to_stride);
  }
  static void measure_channels(context&, std::int64_t samples, const channel_layout& layout, const A* x, double* mean,
                               double* squares) {
    host::measure_channels(samples, layout, x, mean, squares);
  }
  static void normalise(context&, std::int64_t samples, const channel_layout& layout, const A* x, const T* mean,
                        const T* scale, const T* shift, bool relu, A* y) {
    host::normalise(samples, layout, x, mean, scale, shift, relu, y);
  }
  static void normalise_and_add(context&, std::int64_t samples, const channel_layout& layout, const A* x, const T* mean,
                                const T* scale, const T* shift, const A* addend, bool relu, A* y) {
    host::normalise_and_add(samples, layout, x, mean, scale, shift, addend, relu, y);
  }
  static void normalise_gradients(context&, std::int64_t samples, const channel_layout& layout, const A* x, const A* y,
                                  A* dy, const T* mean, const T* inverse, double* sums, double* products) {
    host::normalise_gradients(samples, layout, x, y, dy, mean, inverse, sums, products);
  }
  static void normalise_backward(context&, std::int64_t samples, const channel_layout& layout, const A* x, const A* dy,
                                 const T* mean, const T* a, const T* b, const T* d, A* dx) {
    host::normalise_backward(samples, layout, x, dy, mean, a, b, d, dx);
  }
  static void attend_to_kept(context&, const attention_row_geometry& g, std::int64_t samples, const A* x, A* kept,
                             A* y) {
    std::vector<double> scores(static_cast<std::size_t>(g.most));
    host::attend_to_kept(g, samples, x, kept, scores.data(), y);
  }
  static void add_row(context&, std::int64_t rows, std::int64_t width, const A* x, const A* row, A* y) {
    host::add_row(rows, width, x, row, y);
  }
  static void sum_rows(context&, std::int64_t rows, std::int64_t width, const A* x, T* sums, bool accumulate) {
    host::sum_rows(rows, width, x, sums, accumulate);
  }
  static void mean_rows(context&, std::int64_t samples, std::int64_t rows, std::int64_t width, const A* x, A* y) {
    host::mean_rows(samples, rows, width, x, y);
  }
  static void mean_rows_backward(context&, std::int64_t samples, std::int64_t rows, std::int64_t width, const A* dy,
                                 A* dx) {
    host::mean_rows_backward(samples, rows, width, dy, dx);
  }
  template <class F>
  static void map(context&, std::int64_t n, const F& f, const A* x, A* y) {
    host::map<T>(n, f, x, y);
  }
  template <class F>
  static void map_backward(context&, std::int64_t n, const F& f, const A* x, const A* y, const A* dy, A* dx) {
    host::map_backward<T>(n, f, x, y, dy, dx);
  }
  static void multiply(context&, std::int64_t m, std::int64_t n, std::int64_t k, const T* a, const T* b,
                       bool transposed, T* y) {
    reference_backend::multiply(m, n, k, a, b, transposed, y);
  }
  static void softmax_rows(context&, std::int64_t samples, const channel_layout& layout, bool logarithm, const A* x,
                           A* y) {
    host::softmax_rows(samples, layout, logarithm, x, y);
  }
  static void softmax_rows_backward(context&, std::int64_t samples, const channel_layout& layout, bool logarithm,
                                    const A* y, const A* dy, A* dx) {
    host::softmax_rows_backward(samples, layout, logarithm, y, dy, dx);
  }
  static void dropout_channels(context&, std::int64_t samples, const channel_layout& layout, float p,
                               const dropout_key& key, const A* x, A* y) {
    for (std::int64_t s = 0; s < samples; ++s)
      for_each_channel_factor(key, s, layout.channels, p, [&](std::int64_t channel, float factor) {
        for (std::int64_t pixel = 0; pixel < layout.pixels; ++pixel) {
          const std::int64_t at = s * layout.size() + layout.at(channel, pixel);
          y[at] = x[at] * static_cast<A>(factor);
        }
      });
  }
  static void square_sums(context&, std::int64_t n, std::int64_t block, const T* x, double* sums) {
    for (std::int64_t start = 0; start < n; start += block) {
      double sum = 0;
      for (std::int64_t i = start; i < (std::min)(n, start + block); ++i) sum += double{x[i]} * double{x[i]};
      *sums++ = sum;
    }
  }
  template <std::size_t N, std::size_t States, class Rule>
  static void reduce_and_update(context&, std::int64_t first, std::int64_t last,
                                const std::array<const T*, N>& gradients, T* parameters,
                                const std::array<T*, States>& states, const Rule& given) {
    const auto rule = loaded(given);
    for (std::int64_t i = first; i < last; ++i) {
      const T sum = tree_sum<0, N>([&](std::size_t k) { return gradients[k][i]; });
      [&]<std::size_t... S>(std::index_sequence<S...>) {
        rule(sum, parameters[i], states[S][i]...);
      }(std::make_index_sequence<States>{});
    }
  }
};

static_assert(backend<reference<double>>);
static_assert(backend<reference<double, float>>);
static_assert(joins_values<reference<double, float>>);
static_assert(normalises_batches<reference<double, float>>);
static_assert(adds_to_normalised<reference<double, float>>);
static_assert(maps_elements<reference<double, float>>);
static_assert(normalises_samples<reference<double, float>>);
static_assert(attends<reference<double, float>>);
static_assert(transposes_convolutions<reference<double, float>>);
static_assert(resamples_pictures<reference<double, float>>);
static_assert(runs_recurrences<reference<double, float>>);
static_assert(measures_elements<reference<double, float>>);
static_assert(measures_classes<reference<double, float>>);
static_assert(looks_up_rows<reference<double>>);
static_assert(adds_rows<reference<double>>);
static_assert(multiplies_matrices<reference<double, float>>);
static_assert(computes_softmax<reference<double, float>>);
static_assert(drops_channels<reference<double, float>>);

}  // namespace lockstep
