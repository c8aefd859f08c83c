// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <lockstep/core/config.hpp>

#include <cstdint>
#include <string_view>

#include <lockstep/backend/backend.hpp>
#include <lockstep/backend/capabilities.hpp>
#include <lockstep/backend/cpu/bf16/context.hpp>
#include <lockstep/backend/cpu/bf16/convert.hpp>
#include <lockstep/backend/cpu/bf16/convolution.hpp>
#include <lockstep/backend/cpu/bf16/element.hpp>
#include <lockstep/backend/cpu/bf16/elementwise.hpp>
#include <lockstep/backend/cpu/bf16/linear.hpp>
#include <lockstep/backend/cpu/bf16/loss.hpp>
#include <lockstep/backend/cpu/bf16/pooling.hpp>
#include <lockstep/backend/cpu/bf16/rows.hpp>
#include <lockstep/backend/cpu/cpu.hpp>
#include <lockstep/backend/cpu/primitives.hpp>
#include <lockstep/backend/host_memory.hpp>

namespace lockstep {

/// The CPU backend of precision::bf16: passes compute in bfloat16, parameters and gradients are float32, pictures
/// channels-last. oneDNN runs layers with weights, which add in float32; all else is computed in float32 and rounded
/// where it is written. Needs a processor with AVX512_BF16; AMX makes it fast.
struct cpu_bf16 : host::synchronous<cpu_backend::bf16::context>, cpu_backend::primitives<cpu_backend::bf16::element> {
  using value_type = float;
  using activation_type = cpu_backend::bf16::element;
  using element = activation_type;
  using context = cpu_backend::bf16::context;
  using in_bf16 = cpu_bf16;

  static constexpr std::string_view name = "cpu bf16";

  template <linear_geometry G>
  using linear = cpu_backend::bf16::linear<G>;
  template <convolution_geometry G>
  using convolution = cpu_backend::bf16::convolution<G>;
  template <transposed_convolution_geometry G>
  using transposed_convolution = cpu_backend::bf16::transposed_convolution<G>;
  template <pooling_geometry G>
  using pooling = cpu_backend::bf16::pooling<G>;
  template <sample_norm_geometry G>
  using sample_norm = cpu_backend::bf16::sample_norm<G>;
  template <resampling_geometry G>
  using resampling = cpu_backend::bf16::resampling<G>;

  static void convert(context&, std::int64_t n, const float* from, element* to) {
    cpu_backend::bf16::convert(n, from, to);
  }
  static void convert(context&, std::int64_t n, const element* from, float* to) {
    cpu_backend::bf16::convert(n, from, to);
  }
  static void relu_forward(context&, std::int64_t n, const element* x, element* y) {
    cpu_backend::bf16::relu_forward(n, x, y);
  }
  static void relu_backward(context&, std::int64_t n, const element* y, const element* dy, element* dx) {
    cpu_backend::bf16::relu_backward(n, y, dy, dx);
  }
  using primitives::to_channels_last;
  static void to_channels_last(context& c, std::int64_t n, const dims& d, const float* x, element* y) {
    cpu_backend::bf16::to_channels_last(c, n, d, x, y);
  }
  static void softmax_cross_entropy(context& c, std::int64_t rows, const cross_entropy_arguments& a,
                                    const element* logits, const std::int64_t* targets, element* dlogits,
                                    const step_values* now, double* sum) {
    cpu_backend::bf16::softmax_cross_entropy(c, rows, a, logits, targets, dlogits, now, sum);
  }
  static void negative_log_likelihood(context& c, std::int64_t rows, const cross_entropy_arguments& a, const element* y,
                                      const std::int64_t* targets, element* dy, const step_values* now, double* sum) {
    cpu_backend::bf16::negative_log_likelihood(c, rows, a, y, targets, dy, now, sum);
  }
  static void squared_error(context& c, std::int64_t n, const element* y, const float* t, element* dy,
                            const step_values* now, double* sum) {
    cpu_backend::bf16::squared_error(c, n, y, t, dy, now, sum);
  }
  template <class Rule>
  static void element_loss(context& c, std::int64_t samples, std::int64_t size, const Rule& rule, const float* weights,
                           const element* y, const float* t, element* dy, const step_values* now, double* sum) {
    cpu_backend::bf16::element_loss(c, samples, size, rule, weights, y, t, dy, now, sum);
  }
  static void sum(context&, std::int64_t n, const element* a, const element* b, bool relu, element* y) {
    cpu_backend::bf16::sum(n, a, b, relu, y);
  }
  template <class F>
  static void map(context&, std::int64_t n, const F& f, const element* x, element* y) {
    cpu_backend::bf16::map(n, f, x, y);
  }
  template <class F>
  static void map_backward(context&, std::int64_t n, const F& f, const element* x, const element* y, const element* dy,
                           element* dx) {
    cpu_backend::bf16::map_backward(n, f, x, y, dy, dx);
  }
  static void softmax_rows(context& c, std::int64_t samples, const channel_layout& layout, bool logarithm,
                           const element* x, element* y) {
    cpu_backend::bf16::softmax_rows(c, samples, layout, logarithm, x, y);
  }
  static void softmax_rows_backward(context& c, std::int64_t samples, const channel_layout& layout, bool logarithm,
                                    const element* y, const element* dy, element* dx) {
    cpu_backend::bf16::softmax_rows_backward(c, samples, layout, logarithm, y, dy, dx);
  }
};

static_assert(backend<cpu_bf16>);
static_assert(joins_values<cpu_bf16>);
static_assert(normalises_batches<cpu_bf16>);
static_assert(adds_to_normalised<cpu_bf16>);
static_assert(maps_elements<cpu_bf16>);
static_assert(normalises_samples<cpu_bf16>);
static_assert(transposes_convolutions<cpu_bf16>);
static_assert(resamples_pictures<cpu_bf16>);
static_assert(measures_elements<cpu_bf16>);
static_assert(measures_classes<cpu_bf16>);
static_assert(multiplies_matrices<cpu_bf16>);
static_assert(computes_softmax<cpu_bf16>);
static_assert(drops_channels<cpu_bf16>);

}  // namespace lockstep
