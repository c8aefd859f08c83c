// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <lockstep/core/config.hpp>

#include <array>
#include <cstddef>
#include <cstdint>

#include <lockstep/backend/backend.hpp>
#include <lockstep/backend/channel_layout.hpp>
#include <lockstep/backend/cpu/context.hpp>
#include <lockstep/backend/cpu/elementwise.hpp>
#include <lockstep/backend/cpu/normalise.hpp>
#include <lockstep/backend/cpu/order.hpp>
#include <lockstep/backend/cpu/product.hpp>
#include <lockstep/backend/cpu/update.hpp>
#include <lockstep/backend/step_values.hpp>
#include <lockstep/core/shape.hpp>

namespace lockstep::cpu_backend {

/// What the CPU's backends have in common: the primitives of one text for whatever A passes compute in, and those on
/// parameters and their gradients, which are float32 in all of them.
template <class A>
struct primitives {
  static constexpr element_order picture_order = element_order::channels_last;
  /// Bytes of activations that a micro-shard may fill: activations should stay in the caches.
  static constexpr std::int64_t cache_bytes = std::int64_t{4} << 20U;
  static constexpr std::int64_t largest_pass = 256;

  static void dropout(context& c, std::int64_t samples, std::int64_t size, const dims& picture, float p,
                      const dropout_key& key, const A* x, A* y) {
    cpu_backend::dropout(c, samples, size, picture, p, key, x, y);
  }
  static void dropout_channels(context& c, std::int64_t samples, const channel_layout& layout, float p,
                               const dropout_key& key, const A* x, A* y) {
    cpu_backend::dropout_channels(c, samples, layout, p, key, x, y);
  }
  static void to_channels_last(context& c, std::int64_t n, const dims& d, const A* x, A* y) {
    cpu_backend::to_channels_last(c, n, d, x, y);
  }
  static void to_plain(context& c, std::int64_t n, const dims& d, const A* x, A* y) {
    cpu_backend::to_plain(c, n, d, x, y);
  }
  static void copy_rows(context& c, std::int64_t rows, std::int64_t width, const A* from, std::int64_t from_stride,
                        A* to, std::int64_t to_stride) {
    cpu_backend::copy_rows(c, rows, width, from, from_stride, to, to_stride);
  }
  static void measure_channels(context& c, std::int64_t samples, const channel_layout& layout, const A* x, double* mean,
                               double* squares) {
    cpu_backend::measure_channels(c, samples, layout, x, mean, squares);
  }
  static void normalise(context& c, std::int64_t samples, const channel_layout& layout, const A* x, const float* mean,
                        const float* scale, const float* shift, bool relu, A* y) {
    cpu_backend::normalise(c, samples, layout, x, mean, scale, shift, relu, y);
  }
  static void normalise_and_add(context& c, std::int64_t samples, const channel_layout& layout, const A* x,
                                const float* mean, const float* scale, const float* shift, const A* addend, bool relu,
                                A* y) {
    cpu_backend::normalise_and_add(c, samples, layout, x, mean, scale, shift, addend, relu, y);
  }
  static void normalise_gradients(context& c, std::int64_t samples, const channel_layout& layout, const A* x,
                                  const A* y, A* dy, const float* mean, const float* inverse, double* sums,
                                  double* products) {
    cpu_backend::normalise_gradients(c, samples, layout, x, y, dy, mean, inverse, sums, products);
  }
  static void normalise_backward(context& c, std::int64_t samples, const channel_layout& layout, const A* x,
                                 const A* dy, const float* mean, const float* a, const float* b, const float* d,
                                 A* dx) {
    cpu_backend::normalise_backward(c, samples, layout, x, dy, mean, a, b, d, dx);
  }

  static void multiply(context& c, std::int64_t m, std::int64_t n, std::int64_t k, const float* a, const float* b,
                       bool transposed, float* y) {
    cpu_backend::multiply(c, m, n, k, a, b, transposed, y);
  }
  static void add(context& c, std::int64_t n, const float* x, float* y) { cpu_backend::add(c, n, x, y); }
  static void square_sums(context& c, std::int64_t n, std::int64_t block, const float* x, double* sums) {
    cpu_backend::square_sums(c, n, block, x, sums);
  }
  template <std::size_t N, std::size_t States, class Rule>
  static void reduce_and_update(context& c, std::int64_t first, std::int64_t last,
                                const std::array<const float*, N>& gradients, float* parameters,
                                const std::array<float*, States>& states, const Rule& rule) {
    cpu_backend::reduce_and_update(c, first, last, gradients, parameters, states, rule);
  }
};

}  // namespace lockstep::cpu_backend
