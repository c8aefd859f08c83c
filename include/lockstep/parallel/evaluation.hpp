// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <cstdint>

#include <lockstep/model/executor.hpp>

namespace lockstep {

/// Sums over the samples that were evaluated; add those of several batches with +=.
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

namespace detail {

/// Sums over `samples` samples; the denominator is the caller's to add.
template <class Model, class B, class Target>
[[nodiscard]] evaluation evaluate_shard(executor<Model, B>& on, const typename Model::loss_type& loss,
                                        const typename B::value_type* parameters, const typename B::value_type* images,
                                        const Target* targets, std::int64_t samples) {
  constexpr const auto& output = Model::template plan<B>.output;
  evaluation part;
  on.infer(parameters, images, samples, [&](std::int64_t first, std::int64_t count, const auto* y) {
    const Target* t = targets + first * loss.target_size(output);
    part.loss_sum += loss.template forward_backward<B>(on.context(), count, output, y, t, 1.0, nullptr);
    part.correct += loss.correct(count, output, y, t);
    part.counted += loss.counted(count, t);
  });
  return part;
}

}  // namespace detail

}  // namespace lockstep
