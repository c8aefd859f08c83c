// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <array>
#include <cmath>
#include <cstdint>

#include <lockstep/core/probability.hpp>
#include <lockstep/core/random.hpp>

namespace lockstep::data {

/// The random numbers of one transform for one sample: a sequence of its own, however many numbers the transforms
/// before it take.
class random_draws {
 public:
  /// `transform` is the transform's place in its pipeline.
  random_draws(const random_stream& of_sample, std::uint64_t transform) noexcept
      : stream_(of_sample), next_block_(transform << 32U) {}

  [[nodiscard]] std::uint32_t bits() {
    if (used_ == block_.size()) {
      block_ = stream_.block(next_block_++);
      used_ = 0;
    }
    return block_[used_++];
  }

  /// Uniform in [0, 1), one of 2^53 values.
  [[nodiscard]] double uniform() {
    const std::uint64_t high = bits();
    return static_cast<double>((high << 21U) | (bits() >> 11U)) * 0x1p-53;
  }

  /// Uniform in [0, bound), bound > 0; the bias is below bound / 2^53.
  [[nodiscard]] std::int64_t below(std::int64_t bound) {
    return static_cast<std::int64_t>(uniform() * static_cast<double>(bound));
  }

  /// True with that probability: never for 0, always for 1.
  [[nodiscard]] bool happens(probability p) { return bits() < p.parts; }
  [[nodiscard]] bool happens(double p) { return uniform() < p; }

  /// Normal with mean 0 and deviation 1, by Box and Muller's transformation.
  [[nodiscard]] double normal() {
    constexpr double two_pi = 6.283185307179586;
    const double radius = std::sqrt(-2 * std::log(1 - uniform()));
    return radius * std::cos(two_pi * uniform());
  }

 private:
  random_stream stream_;
  std::uint64_t next_block_;
  std::array<std::uint32_t, 4> block_{};
  std::size_t used_ = 4;
};

}  // namespace lockstep::data
