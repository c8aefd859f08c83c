// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <lockstep/core/config.hpp>

#include <array>
#include <cstddef>
#include <cstdint>
#include <type_traits>

namespace lockstep {

/// Sums over evaluated samples; += adds up several batches.
struct evaluation {
  double loss_sum = 0;
  double denominator = 0;
  std::int64_t correct = 0;
  std::int64_t counted = 0;  ///< samples whose target was not ignored

  [[nodiscard]] double loss() const { return loss_sum / denominator; }
  [[nodiscard]] double accuracy() const { return static_cast<double>(correct) / static_cast<double>(counted); }

  evaluation& operator+=(const evaluation& other) {
    loss_sum += other.loss_sum;
    denominator += other.denominator;
    correct += other.correct;
    counted += other.counted;
    return *this;
  }
  friend evaluation operator+(evaluation a, const evaluation& b) { return a += b; }
};

/// The same for a model with several outputs: one evaluation for each of them, in their order.
template <std::size_t Count>
struct evaluations {
  std::array<evaluation, Count> parts{};
  std::array<double, Count> weights{};  ///< of the losses

  /// The weighted sum of the parts' losses.
  [[nodiscard]] double loss() const {
    double total = 0;
    for (std::size_t k = 0; k < Count; ++k) total += weights[k] * parts[k].loss();
    return total;
  }
  [[nodiscard]] const evaluation& operator[](std::size_t output) const { return parts[output]; }

  evaluations& operator+=(const evaluations& other) {
    for (std::size_t k = 0; k < Count; ++k) parts[k] += other.parts[k];
    weights = other.weights;
    return *this;
  }
  friend evaluations operator+(evaluations a, const evaluations& b) { return a += b; }
};

namespace detail {

template <class Model>
using evaluation_of = std::conditional_t<Model::loss_count == 1, evaluation, evaluations<Model::loss_count>>;

inline void set_loss_sums(evaluation& to, const double* sums) { to.loss_sum = sums[0]; }
template <std::size_t Count>
void set_loss_sums(evaluations<Count>& to, const double* sums) {
  for (std::size_t k = 0; k < Count; ++k) to.parts[k].loss_sum = sums[k];
}

}  // namespace detail

}  // namespace lockstep
