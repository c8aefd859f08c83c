// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <cstdint>
#include <string_view>
#include <type_traits>

#include <lockstep/backend/backend.hpp>
#include <lockstep/backend/capabilities.hpp>
#include <lockstep/backend/convolution_algorithm.hpp>
#include <lockstep/backend/cpu/attention/attention.hpp>
#include <lockstep/backend/cpu/attention/one_row.hpp>
#include <lockstep/backend/cpu/column_sums.hpp>
#include <lockstep/backend/cpu/context.hpp>
#include <lockstep/backend/cpu/convolution.hpp>
#include <lockstep/backend/cpu/cross_entropy.hpp>
#include <lockstep/backend/cpu/element_loss.hpp>
#include <lockstep/backend/cpu/elementwise.hpp>
#include <lockstep/backend/cpu/linear.hpp>
#include <lockstep/backend/cpu/map.hpp>
#include <lockstep/backend/cpu/pooling.hpp>
#include <lockstep/backend/cpu/primitives.hpp>
#include <lockstep/backend/cpu/product.hpp>
#include <lockstep/backend/cpu/recurrent.hpp>
#include <lockstep/backend/cpu/resampling.hpp>
#include <lockstep/backend/cpu/sample_norm.hpp>
#include <lockstep/backend/cpu/softmax.hpp>
#include <lockstep/backend/cpu/transposed_convolution.hpp>
#include <lockstep/backend/cpu/update.hpp>
#include <lockstep/backend/host_embedding.hpp>
#include <lockstep/backend/host_loss.hpp>
#include <lockstep/backend/host_memory.hpp>

namespace lockstep {

template <convolution_algorithm Algorithm>
struct cpu_convolving;

/// The CPU backend of precision::bf16, which lockstep/cpu_bf16.hpp brings: programs that do not use it need not read
/// it.
struct cpu_bf16;

/// The CPU backend: float32, pictures channels-last. Our own kernels run elementwise passes, narrow matrix products
/// and, in one thread with AVX2, wide ones, convolutions of few input channels and those that Winograd's algorithm
/// fits; oneDNN runs the rest.
struct cpu : host::synchronous<cpu_backend::context>, cpu_backend::primitives<float> {
  using value_type = float;
  using activation_type = float;
  using context = cpu_backend::context;
  using in_bf16 = cpu_bf16;

  static constexpr std::string_view name = "cpu";

  template <linear_geometry G>
  using linear = cpu_backend::linear<G>;
  template <convolution_geometry G>
  using convolution = cpu_backend::convolution<G>;
  /// This backend with another algorithm for convolutions.
  template <convolution_algorithm Algorithm>
  using convolving = std::conditional_t<Algorithm == convolution_algorithm::f4, cpu, cpu_convolving<Algorithm>>;
  template <transposed_convolution_geometry G>
  using transposed_convolution = cpu_backend::transposed_convolution<G>;
  template <pooling_geometry G>
  using pooling = cpu_backend::pooling<G>;
  template <embedding_geometry G>
  using embedding =
      host::embedding<float, float, G, linear<linear_geometry{.in = G.width, .out = G.vocabulary, .bias = false}>>;
  template <sample_norm_geometry G>
  using sample_norm = cpu_backend::sample_norm<G>;
  template <attention_geometry G>
  using attention = cpu_backend::attention<G>;
  template <resampling_geometry G>
  using resampling = cpu_backend::resampling<G>;
  template <recurrent_geometry G>
  using recurrent = cpu_backend::recurrent<G>;

  static void relu_forward(context& c, std::int64_t n, const float* x, float* y) {
    cpu_backend::relu_forward(c, n, x, y);
  }
  static void relu_backward(context& c, std::int64_t n, const float* y, const float* dy, float* dx) {
    cpu_backend::relu_backward(c, n, y, dy, dx);
  }
  static void softmax_cross_entropy(context& c, std::int64_t rows, const cross_entropy_arguments& a,
                                    const float* logits, const std::int64_t* targets, float* dlogits,
                                    const step_values* now, double* sum) {
    *sum +=
        cpu_backend::softmax_cross_entropy(c, rows, a, logits, targets, dlogits, dlogits == nullptr ? 1.0 : now->scale);
  }
  static void squared_error(context& c, std::int64_t n, const float* y, const float* t, float* dy,
                            const step_values* now, double* sum) {
    cpu_backend::squared_error(c, n, y, t, dy, now, sum);
  }
  template <class Rule>
  static void element_loss(context& c, std::int64_t samples, std::int64_t size, const Rule& rule, const float* weights,
                           const float* y, const float* t, float* dy, const step_values* now, double* sum) {
    cpu_backend::element_loss(c, samples, size, rule, weights, y, t, dy, now, sum);
  }
  static void negative_log_likelihood(context&, std::int64_t rows, const cross_entropy_arguments& a, const float* y,
                                      const std::int64_t* targets, float* dy, const step_values* now, double* sum) {
    *sum += host::negative_log_likelihood(rows, a, y, targets, dy, dy == nullptr ? 1.0 : now->scale);
  }
  static void sum(context& c, std::int64_t n, const float* a, const float* b, bool relu, float* y) {
    cpu_backend::sum(c, n, a, b, relu, y);
  }
  static void copy_rows(context& c, std::int64_t rows, std::int64_t width, const float* from, std::int64_t from_stride,
                        float* to, std::int64_t to_stride) {
    cpu_backend::copy_rows(c, rows, width, from, from_stride, to, to_stride);
  }
  static void attend_to_kept(context& c, const attention_row_geometry& g, std::int64_t samples, const float* x,
                             float* kept, float* y) {
    cpu_backend::run_widest<cpu_backend::attention_row_kernel>(g, samples, x, kept, c.workspace(g.most), y);
  }
  static void add_row(context& c, std::int64_t rows, std::int64_t width, const float* x, const float* row, float* y) {
    cpu_backend::add_row(c, rows, width, x, row, y);
  }
  static void sum_rows(context&, std::int64_t rows, std::int64_t width, const float* x, float* sums, bool accumulate) {
    cpu_backend::column_sums(rows, width, x, sums, accumulate);
  }
  static void mean_rows(context& c, std::int64_t samples, std::int64_t rows, std::int64_t width, const float* x,
                        float* y) {
    cpu_backend::mean_rows(c, samples, rows, width, x, y);
  }
  static void mean_rows_backward(context& c, std::int64_t samples, std::int64_t rows, std::int64_t width,
                                 const float* dy, float* dx) {
    cpu_backend::mean_rows_backward(c, samples, rows, width, dy, dx);
  }
  template <class F>
  static void map(context& c, std::int64_t n, const F& f, const float* x, float* y) {
    cpu_backend::map(c, n, f, x, y);
  }
  template <class F>
  static void map_backward(context& c, std::int64_t n, const F& f, const float* x, const float* y, const float* dy,
                           float* dx) {
    cpu_backend::map_backward(c, n, f, x, y, dy, dx);
  }
  static void softmax_rows(context& c, std::int64_t samples, const channel_layout& layout, bool logarithm,
                           const float* x, float* y) {
    cpu_backend::softmax_rows(c, samples, layout, logarithm, x, y);
  }
  static void softmax_rows_backward(context& c, std::int64_t samples, const channel_layout& layout, bool logarithm,
                                    const float* y, const float* dy, float* dx) {
    cpu_backend::softmax_rows_backward(c, samples, layout, logarithm, y, dy, dx);
  }
};

/// The CPU backend with another algorithm for convolutions of 3 x 3: `cpu::convolving`.
template <convolution_algorithm Algorithm>
struct cpu_convolving : cpu {
  template <convolution_geometry G>
  using convolution = cpu_backend::convolution<G, Algorithm>;
};

static_assert(backend<cpu>);
static_assert(joins_values<cpu>);
static_assert(normalises_batches<cpu>);
static_assert(adds_to_normalised<cpu>);
static_assert(maps_elements<cpu>);
static_assert(normalises_samples<cpu>);
static_assert(attends<cpu>);
static_assert(attends_in_order<cpu>);
static_assert(transposes_convolutions<cpu>);
static_assert(resamples_pictures<cpu>);
static_assert(runs_recurrences<cpu>);
static_assert(measures_elements<cpu>);
static_assert(measures_classes<cpu>);
static_assert(multiplies_matrices<cpu>);
static_assert(computes_softmax<cpu>);
static_assert(drops_channels<cpu>);
static_assert(looks_up_rows<cpu>);
static_assert(adds_rows<cpu>);

}  // namespace lockstep
