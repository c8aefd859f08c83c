// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>

#include <lockstep/backend/cross_entropy_arguments.hpp>
#include <lockstep/backend/element_loss.hpp>

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

/// Sum of the rule's values over `samples` outputs of `size` elements; dy = its gradients times `scale` (null: no
/// gradient). A rule that takes weights reads `size` of them, one for each element of a sample. See element_loss.hpp.
template <class A, class T, class Rule>
double element_loss(std::int64_t samples, std::int64_t size, const Rule& rule, const T* weights, const A* y, const T* t,
                    A* dy, double scale) {
  double total = 0;
  for (std::int64_t i = 0; i < samples * size; ++i) {
    T value{};
    T gradient{};
    if constexpr (takes_weights<Rule>)
      rule(T{y[i]}, t[i], weights[i % size], value, gradient);
    else
      rule(T{y[i]}, t[i], value, gradient);
    total += static_cast<double>(value);
    if (dy != nullptr) dy[i] = static_cast<A>(gradient * static_cast<T>(scale));
  }
  return total;
}

/// Sum over `rows` rows of -weight * y[target], as torch.nn.NLLLoss(reduction="sum") of log-probabilities y, and its
/// gradient, times `scale`, in dy (null: no gradient). Reads of `a` all but the label smoothing. A row whose target is
/// a.ignore_index adds nothing. Targets must be valid.
template <class T>
double negative_log_likelihood(std::int64_t rows, const cross_entropy_arguments& a, const T* y,
                               const std::int64_t* targets, T* dy, double scale) {
  if (dy != nullptr) std::fill_n(dy, rows * a.classes, T{0});
  double total = 0;
  for (std::int64_t r = 0; r < rows; ++r) {
    if (targets[r] == a.ignore_index) continue;
    const std::int64_t at = r * a.classes + targets[r];
    const double weight = a.class_weights == nullptr ? 1.0 : double{a.class_weights[targets[r]]};
    total -= weight * static_cast<double>(y[at]);
    if (dy != nullptr) dy[at] = static_cast<T>(-weight * scale);
  }
  return total;
}

}  // namespace lockstep::host
