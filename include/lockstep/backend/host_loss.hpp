// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>

#include <lockstep/backend/cross_entropy_arguments.hpp>

/// \file
/// Loss primitives in plain C++, for the backends whose memory the host reads.

namespace lockstep::host {

/// Cross entropy between the softmax of `rows` rows of logits and class indices, as torch.nn.CrossEntropyLoss. Writes
/// the gradient, times `scale`, to dlogits (null: no gradient) and returns the plain sum of the rows' losses. A row
/// whose target is a.ignore_index adds nothing. Targets must be valid.
template <class T>
double softmax_cross_entropy(std::int64_t rows, const cross_entropy_arguments& a, const T* logits,
                             const std::int64_t* targets, T* dlogits, double scale) {
  const std::int64_t classes = a.classes;
  const auto weight = [&](std::int64_t c) { return a.class_weights == nullptr ? 1.0 : double{a.class_weights[c]}; };
  const double smooth = double{a.label_smoothing} / static_cast<double>(classes);
  const double sharp = 1.0 - double{a.label_smoothing};
  double weight_sum = static_cast<double>(classes);
  if (a.class_weights != nullptr) {
    weight_sum = 0;
    for (std::int64_t c = 0; c < classes; ++c) weight_sum += weight(c);
  }

  double total = 0;
  for (std::int64_t r = 0; r < rows; ++r, logits += classes) {
    T* out = dlogits == nullptr ? nullptr : dlogits + r * classes;
    const std::int64_t target = targets[r];
    if (target == a.ignore_index) {
      if (out != nullptr) std::fill_n(out, classes, T{0});
      continue;
    }
    const T top = *std::max_element(logits, logits + classes);
    // In double: a float sum over 250,000 classes would have a relative error of 4e-4, and so would every gradient.
    double sum = 0;
    for (std::int64_t c = 0; c < classes; ++c) {
      const T e = std::exp(logits[c] - top);
      if (out != nullptr) out[c] = e;
      sum += static_cast<double>(e);
    }
    const double log_sum = static_cast<double>(top) + std::log(sum);
    total += sharp * weight(target) * (log_sum - static_cast<double>(logits[target]));
    if (a.label_smoothing != 0.F)
      for (std::int64_t c = 0; c < classes; ++c)
        total += smooth * weight(c) * (log_sum - static_cast<double>(logits[c]));
    if (out == nullptr) continue;
    // d/dz_c of sum_k q_k (log_sum - z_k), with q the smoothed and weighted target: p_c * sum(q) - q_c.
    const double mass = sharp * weight(target) + smooth * weight_sum;
    const double inverse = mass * scale / sum;
    const double exponential = static_cast<double>(out[target]);
    if (a.label_smoothing == 0.F)
      for (std::int64_t c = 0; c < classes; ++c) out[c] = static_cast<T>(static_cast<double>(out[c]) * inverse);
    else
      for (std::int64_t c = 0; c < classes; ++c)
        out[c] = static_cast<T>(static_cast<double>(out[c]) * inverse - smooth * weight(c) * scale);
    out[target] = static_cast<T>(exponential * inverse - (sharp + smooth) * weight(target) * scale);
  }
  return total;
}

/// Sum of (y - t)^2 over n elements; dy = 2 (y - t) scale (null: no gradient). As torch.nn.MSELoss(reduction="sum").
template <class A, class T>
double squared_error(std::int64_t n, const A* y, const T* t, A* dy, double scale) {
  const T factor = static_cast<T>(2 * scale);
  double total = 0;
  for (std::int64_t i = 0; i < n; ++i) {
    const T difference = T{y[i]} - t[i];
    total += static_cast<double>(difference) * static_cast<double>(difference);
    if (dy != nullptr) dy[i] = static_cast<A>(factor * difference);
  }
  return total;
}

}  // namespace lockstep::host
