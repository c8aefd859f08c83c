// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <lockstep/core/config.hpp>

#include <cstdint>

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

}  // namespace lockstep
