// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <string>

#include <lockstep/core/error.hpp>
#include <lockstep/parallel/split/even.hpp>

namespace lockstep {

/// Counts in proportion to `weights`, for devices of unequal speed: replica r gets its quota, samples * weights[r] /
/// sum, rounded by largest remainders (Hamilton's method). All quotas are rounded down; then the replicas with the
/// largest remainders get one more each, the lower replica first when remainders are equal. The counts sum to
/// `samples`, each differs from its quota by less than one, a replica of weight zero gets none, and equal weights give
/// even_split. The same arguments give the same counts on every machine.
///
/// Throws value_error when a weight is negative, infinite or NaN, when all are zero, or when `samples` is negative or
/// above 2^53, beyond which a quota has no exact double. Cost: O(N log N).
template <int N>
[[nodiscard]] batch_split<N> weighted_split(std::int64_t samples,
                                            const std::array<double, static_cast<std::size_t>(N)>& weights) {
  constexpr std::size_t n = static_cast<std::size_t>(N);
  constexpr std::int64_t exact = std::int64_t{1} << 53U;
  if (samples < 0 || samples > exact)
    throw value_error("weighted_split", "zero samples or more, up to 2^53", std::to_string(samples));
  double largest = 0.0;
  for (std::size_t r = 0; r < n; ++r) {
    if (!(weights[r] >= 0.0) || std::isinf(weights[r]))
      throw value_error("weighted_split", "finite weights of zero or more",
                        std::to_string(weights[r]) + " for replica " + std::to_string(r));
    largest = (std::max)(largest, weights[r]);
  }
  if (largest == 0.0)
    throw value_error("weighted_split", "a weight above zero", "only zeros", "give one replica or more some work");

  // Scales by a power of two, which rounds nothing, so that neither the sum nor a product overflows.
  std::array<double, n> scaled = weights;
  const int exponent = std::ilogb(largest);
  double sum = 0.0;
  for (double& weight : scaled) {
    weight = std::ldexp(weight, -exponent);
    sum += weight;
  }

  typename batch_split<N>::counts_type counts{};
  std::array<double, n> remainders{};
  std::array<std::size_t, n> order{};
  std::size_t candidates = 0;
  std::int64_t rest = samples;
  for (std::size_t r = 0; r < n; ++r) {
    if (scaled[r] == 0.0) continue;
    const double quota = static_cast<double>(samples) * scaled[r] / sum;
    const double whole = std::floor(quota);
    counts[r] = static_cast<std::int64_t>(whole);
    remainders[r] = quota - whole;
    rest -= counts[r];
    // The largest remainder first; of equal ones, the lower replica first.
    std::size_t at = candidates++;
    for (; at > 0 && remainders[order[at - 1]] < remainders[r]; --at) order[at] = order[at - 1];
    order[at] = r;
  }
  for (std::size_t i = 0; rest > 0; i = (i + 1) % candidates, --rest) ++counts[order[i]];
  // Quotas of a batch near 2^53 may have been rounded up to the next integer.
  for (std::size_t i = candidates - 1; rest < 0; i = (i + candidates - 1) % candidates) {
    if (counts[order[i]] == 0) continue;
    --counts[order[i]];
    ++rest;
  }
  return batch_split<N>(counts);
}

}  // namespace lockstep
