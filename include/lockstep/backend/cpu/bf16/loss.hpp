// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <algorithm>
#include <cstdint>

#include <lockstep/backend/cpu/bf16/context.hpp>
#include <lockstep/backend/cpu/bf16/convert.hpp>
#include <lockstep/backend/cpu/bf16/element.hpp>
#include <lockstep/backend/cpu/element_loss.hpp>
#include <lockstep/backend/cross_entropy_arguments.hpp>
#include <lockstep/backend/element_loss.hpp>
#include <lockstep/backend/host_loss.hpp>
#include <lockstep/backend/step_values.hpp>

/// \file
/// Losses of outputs in bfloat16, computed in float piece by piece; see the CPU backend's.

namespace lockstep::cpu_backend::bf16 {

/// Calls loss(floats, gradients, first row, rows) for pieces of y, and rounds the gradients, which are null when dy is.
template <class Loss>
void each_row_piece(context& c, std::int64_t rows, std::int64_t size, const element* y, element* dy, const Loss& loss) {
  each_piece(rows, size, [&](std::int64_t first, std::int64_t count) {
    const std::int64_t n = count * size;
    float* const gradients = dy == nullptr ? nullptr : c.floats<1>(n);
    loss(widened<0>(c, n, y + first * size), gradients, first, count);
    if (dy != nullptr) convert(n, gradients, dy + first * size);
  });
}

inline void softmax_cross_entropy(context& c, std::int64_t rows, const cross_entropy_arguments& a,
                                  const element* logits, const std::int64_t* targets, element* dlogits,
                                  const step_values* now, double* sum) {
  const double scale = dlogits == nullptr ? 1.0 : now->scale;
  each_row_piece(c, rows, a.classes, logits, dlogits,
                 [&](const float* y, float* dy, std::int64_t first, std::int64_t count) {
                   *sum += host::softmax_cross_entropy(count, a, y, targets + first, dy, scale);
                 });
}

inline void negative_log_likelihood(context& c, std::int64_t rows, const cross_entropy_arguments& a, const element* y,
                                    const std::int64_t* targets, element* dy, const step_values* now, double* sum) {
  const double scale = dy == nullptr ? 1.0 : now->scale;
  each_row_piece(c, rows, a.classes, y, dy,
                 [&](const float* wide, float* gradients, std::int64_t first, std::int64_t count) {
                   *sum += host::negative_log_likelihood(count, a, wide, targets + first, gradients, scale);
                 });
}

/// Pieces of whole samples, or of a sample that alone is more than a piece.
template <class Rule>
void element_loss(context& c, std::int64_t samples, std::int64_t size, const Rule& rule, const float* weights,
                  const element* y, const float* t, element* dy, const step_values* now, double* sum) {
  const auto measure = [&](std::int64_t first, std::int64_t count, std::int64_t length, const float* of_weights) {
    const std::int64_t n = count * length;
    float* const gradients = dy == nullptr ? nullptr : c.floats<1>(n);
    cpu_backend::element_loss(c, count, length, rule, of_weights, widened<0>(c, n, y + first), t + first, gradients,
                              now, sum);
    if (dy != nullptr) convert(n, gradients, dy + first);
  };
  if (size <= widened_floats)
    return each_piece(samples, size,
                      [&](std::int64_t first, std::int64_t count) { measure(first * size, count, size, weights); });
  for (std::int64_t s = 0; s < samples; ++s)
    each_piece(size, 1, [&](std::int64_t first, std::int64_t count) {
      measure(s * size + first, 1, count, weights == nullptr ? nullptr : weights + first);
    });
}

inline void squared_error(context& c, std::int64_t n, const element* y, const float* t, element* dy,
                          const step_values* now, double* sum) {
  step_values twice;
  if (now != nullptr) twice = *now;
  twice.scale *= 2;
  bf16::element_loss(c, 1, n, difference_rule{}, nullptr, y, t, dy, &twice, sum);
}

}  // namespace lockstep::cpu_backend::bf16
