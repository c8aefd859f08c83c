// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <lockstep/core/config.hpp>

#include <cstdint>

/// \file
/// The transforms of Winograd's minimal filtering F(m, 3): m outputs of a filter with three taps from m + 2 inputs,
/// with m + 2 multiplications instead of 3 m (S. Winograd; A. Lavin and S. Gray, Fast Algorithms for Convolutional
/// Neural Networks, CVPR 2016). Inputs d, taps g and outputs y are taken as polynomials that are evaluated at m + 1
/// points and at infinity:
///
///     y = A^T ((G g) * (B^T d))          where * multiplies the values at equal points
///
/// Gradients follow from the transposes: that of g is G^T ((B^T d) * (A dy)), and that of d is a convolution of dy.
/// Pictures apply a transform to columns, then to rows.
///
/// Each transform reads and writes values that lie a `step` apart. V is a vector of floats, or float.

namespace lockstep::cpu_backend::winograd {

/// F(4, 3), a quarter of the multiplications for pictures. The points are 0, 5/8, -5/8, 3/2 and -3/2: with 1 and 2 in
/// place of 5/8 and 3/2, rounding errors are twice as large.
struct f4 {
  static constexpr int outputs = 4;
  static constexpr int points = 6;

  /// to (6) = B^T from (6).
  template <class V>
  static LOCKSTEP_ALWAYS_INLINE void inputs(const V* from, int step, V* to, int to_step) {
    const V d1 = from[step], d2 = from[2 * step], d3 = from[3 * step], d4 = from[4 * step];
    const V even_a = d4 - bb * d2, odd_a = d3 - bb * d1;
    const V even_b = d4 - aa * d2, odd_b = d3 - aa * d1;
    to[0] = d4 - (aa + bb) * d2 + aa * bb * from[0];
    to[to_step] = even_a + a * odd_a;
    to[2 * to_step] = even_a - a * odd_a;
    to[3 * to_step] = even_b + b * odd_b;
    to[4 * to_step] = even_b - b * odd_b;
    to[5 * to_step] = from[5 * step] - (aa + bb) * d3 + aa * bb * d1;
  }

  /// to (4) = A^T from (6).
  template <class V>
  static LOCKSTEP_ALWAYS_INLINE void outputs_of(const V* from, int step, V* to, int to_step) {
    const V sum_a = from[step] + from[2 * step], difference_a = from[step] - from[2 * step];
    const V sum_b = from[3 * step] + from[4 * step], difference_b = from[3 * step] - from[4 * step];
    to[0] = from[0] + sum_a + sum_b;
    to[to_step] = a * difference_a + b * difference_b;
    to[2 * to_step] = aa * sum_a + bb * sum_b;
    to[3 * to_step] = from[5 * step] + a * aa * difference_a + b * bb * difference_b;
  }

  /// to (6) = A from (4).
  template <class V>
  static LOCKSTEP_ALWAYS_INLINE void gradients(const V* from, int step, V* to, int to_step) {
    const V y0 = from[0], y1 = from[step], y2 = from[2 * step], y3 = from[3 * step];
    const V even_a = y0 + aa * y2, odd_a = y1 + aa * y3;
    const V even_b = y0 + bb * y2, odd_b = y1 + bb * y3;
    to[0] = y0;
    to[to_step] = even_a + a * odd_a;
    to[2 * to_step] = even_a - a * odd_a;
    to[3 * to_step] = even_b + b * odd_b;
    to[4 * to_step] = even_b - b * odd_b;
    to[5 * to_step] = y3;
  }

  /// to (6) = G from (3).
  template <class V>
  static LOCKSTEP_ALWAYS_INLINE void taps(const V* from, int step, V* to, int to_step) {
    const V g0 = from[0], g1 = from[step], g2 = from[2 * step];
    const V even_a = scale_a * g0 + scale_a * aa * g2, odd_a = scale_a * a * g1;
    const V even_b = scale_b * g0 + scale_b * bb * g2, odd_b = scale_b * b * g1;
    to[0] = scale_0 * g0;
    to[to_step] = even_a + odd_a;
    to[2 * to_step] = even_a - odd_a;
    to[3 * to_step] = even_b + odd_b;
    to[4 * to_step] = even_b - odd_b;
    to[5 * to_step] = g2;
  }

  /// to (3) = G^T from (6).
  template <class V>
  static LOCKSTEP_ALWAYS_INLINE void tap_gradients(const V* from, int step, V* to, int to_step) {
    const V sum_a = from[step] + from[2 * step], difference_a = from[step] - from[2 * step];
    const V sum_b = from[3 * step] + from[4 * step], difference_b = from[3 * step] - from[4 * step];
    to[0] = scale_0 * from[0] + scale_a * sum_a + scale_b * sum_b;
    to[to_step] = scale_a * a * difference_a + scale_b * b * difference_b;
    to[2 * to_step] = from[5 * step] + scale_a * aa * sum_a + scale_b * bb * sum_b;
  }

 private:
  static constexpr float a = 0.625F, b = 1.5F;
  static constexpr float aa = a * a, bb = b * b;
  // One over the product of a point's distances from the others.
  static constexpr float scale_0 = 1 / (aa * bb);
  static constexpr float scale_a = 1 / (2 * aa * (aa - bb));
  static constexpr float scale_b = 1 / (2 * bb * (bb - aa));
};

/// F(2, 3), four ninths of the multiplications for pictures, with rounding errors like those of a direct sum. The
/// points are 0, 1 and -1.
struct f2 {
  static constexpr int outputs = 2;
  static constexpr int points = 4;

  /// to (4) = B^T from (4).
  template <class V>
  static LOCKSTEP_ALWAYS_INLINE void inputs(const V* from, int step, V* to, int to_step) {
    const V d0 = from[0], d1 = from[step], d2 = from[2 * step], d3 = from[3 * step];
    to[0] = d0 - d2;
    to[to_step] = d2 + d1;
    to[2 * to_step] = d2 - d1;
    to[3 * to_step] = d3 - d1;
  }

  /// to (2) = A^T from (4).
  template <class V>
  static LOCKSTEP_ALWAYS_INLINE void outputs_of(const V* from, int step, V* to, int to_step) {
    to[0] = from[0] + (from[step] + from[2 * step]);
    to[to_step] = from[3 * step] + (from[step] - from[2 * step]);
  }

  /// to (4) = A from (2).
  template <class V>
  static LOCKSTEP_ALWAYS_INLINE void gradients(const V* from, int step, V* to, int to_step) {
    const V y0 = from[0], y1 = from[step];
    to[0] = y0;
    to[to_step] = y0 + y1;
    to[2 * to_step] = y0 - y1;
    to[3 * to_step] = y1;
  }

  /// to (4) = G from (3).
  template <class V>
  static LOCKSTEP_ALWAYS_INLINE void taps(const V* from, int step, V* to, int to_step) {
    const V g0 = from[0], g1 = from[step], g2 = from[2 * step];
    const V ends = g0 + g2;
    to[0] = g0;
    to[to_step] = 0.5F * (ends + g1);
    to[2 * to_step] = 0.5F * (ends - g1);
    to[3 * to_step] = g2;
  }

  /// to (3) = G^T from (4).
  template <class V>
  static LOCKSTEP_ALWAYS_INLINE void tap_gradients(const V* from, int step, V* to, int to_step) {
    const V half_sum = 0.5F * (from[step] + from[2 * step]);
    to[0] = from[0] + half_sum;
    to[to_step] = 0.5F * (from[step] - from[2 * step]);
    to[2 * to_step] = half_sum + from[3 * step];
  }
};

}  // namespace lockstep::cpu_backend::winograd
