// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <array>
#include <cmath>
#include <cstdint>

#include <lockstep/core/config.hpp>

namespace lockstep {

/// A seed, spelled so that `initialize(ls::seed{42})` cannot be mistaken for a count.
struct seed {
  std::uint64_t value = 0;
};

/// Philox 4x32 with 10 rounds: 128 random bits as a pure function of a 128-bit counter and a 64-bit key.
/// Source: Salmon, Moraes, Dror, Shaw, "Parallel random numbers: as easy as 1, 2, 3", SC 2011.
[[nodiscard]] LOCKSTEP_HOST_DEVICE constexpr std::array<std::uint32_t, 4> philox4x32_10(
    std::array<std::uint32_t, 4> counter, std::array<std::uint32_t, 2> key) {
  for (int round = 0; round < 10; ++round) {
    const std::uint64_t a = std::uint64_t{0xD2511F53U} * counter[0];
    const std::uint64_t b = std::uint64_t{0xCD9E8D57U} * counter[2];
    counter = {static_cast<std::uint32_t>(b >> 32U) ^ counter[1] ^ key[0], static_cast<std::uint32_t>(b),
               static_cast<std::uint32_t>(a >> 32U) ^ counter[3] ^ key[1], static_cast<std::uint32_t>(a)};
    key[0] += 0x9E3779B9U;
    key[1] += 0xBB67AE85U;
  }
  return counter;
}

/// Returns the top 24 bits as a float in [0, 1): every value is exact, and 1 is never returned.
[[nodiscard]] LOCKSTEP_HOST_DEVICE constexpr float to_unit_float(std::uint32_t bits) {
  return static_cast<float>(bits >> 8U) * 0x1p-24F;
}

/// What a draw is for. The purpose is part of the key, so that no two uses share numbers.
enum class random_purpose : std::uint32_t {
  initialization = 1,
  dropout = 2,
  shuffle = 3,
  synthetic_data = 4,
  augmentation = 5,
  generation = 6
};

/// A stateless source of draws keyed by (seed, purpose, a, b). For dropout, a is the step and layer, b the global
/// sample index. Copies are free; the same indices give the same number on any replica.
class random_stream {
 public:
  LOCKSTEP_HOST_DEVICE constexpr random_stream(seed s, random_purpose purpose, std::uint64_t a = 0,
                                               std::uint64_t b = 0) {
    // One Philox block folds the purpose into a key, and a second one folds the coordinates a and b into the final key.
    // A linear mix would let streams collide.
    const auto own = philox4x32_10({static_cast<std::uint32_t>(purpose), 0, 0, 0},
                                   {static_cast<std::uint32_t>(s.value), static_cast<std::uint32_t>(s.value >> 32U)});
    const auto folded = philox4x32_10({static_cast<std::uint32_t>(a), static_cast<std::uint32_t>(a >> 32U),
                                       static_cast<std::uint32_t>(b), static_cast<std::uint32_t>(b >> 32U)},
                                      {own[0], own[1]});
    key_ = {folded[0], folded[1]};
    lane_ = {folded[2], folded[3]};
  }

  /// What `block` gives philox4x32_10 as its key, and as the upper half of its counter: for code that computes many
  /// blocks at once.
  [[nodiscard]] LOCKSTEP_HOST_DEVICE constexpr const std::array<std::uint32_t, 2>& key() const { return key_; }
  [[nodiscard]] LOCKSTEP_HOST_DEVICE constexpr const std::array<std::uint32_t, 2>& lane() const { return lane_; }

  /// Returns draws 4 * index .. 4 * index + 3.
  [[nodiscard]] LOCKSTEP_HOST_DEVICE constexpr std::array<std::uint32_t, 4> block(std::uint64_t index) const {
    return philox4x32_10(
        {static_cast<std::uint32_t>(index), static_cast<std::uint32_t>(index >> 32U), lane_[0], lane_[1]}, key_);
  }

  [[nodiscard]] LOCKSTEP_HOST_DEVICE constexpr std::uint32_t bits(std::uint64_t index) const {
    return block(index / 4)[index % 4];
  }

  /// Uniform in [0, 1).
  [[nodiscard]] LOCKSTEP_HOST_DEVICE constexpr float uniform(std::uint64_t index) const {
    return to_unit_float(bits(index));
  }

  /// Normal with mean 0 and deviation 1, at most 6.77 from 0: the cosine half of Box and Muller's transformation,
  /// computed in double and rounded once. Draw i takes the words `bits(2 * i)` and `bits(2 * i + 1)`.
  /// Source: Box, Muller, "A note on the generation of random normal deviates", 1958.
  [[nodiscard]] LOCKSTEP_HOST_DEVICE float normal(std::uint64_t index) const {
    constexpr double two_pi = 6.283185307179586;
    const auto words = block(index / 2);
    const auto first = 2 * (index % 2);
    const double unit = (words[first] + 0.5) * 0x1p-32;  // in (0, 1): its logarithm is finite
    const double angle = words[first + 1] * 0x1p-32;
    return static_cast<float>(std::sqrt(-2 * std::log(unit)) * std::cos(two_pi * angle));
  }

  /// Uniform integer in [0, bound), bound > 0, by a 64-bit multiply of 32 bits: bias below bound / 2^32.
  [[nodiscard]] LOCKSTEP_HOST_DEVICE constexpr std::uint32_t below(std::uint32_t bound, std::uint64_t index) const {
    return static_cast<std::uint32_t>((std::uint64_t{bits(index)} * bound) >> 32U);
  }

 private:
  std::array<std::uint32_t, 2> key_{};
  std::array<std::uint32_t, 2> lane_{};
};

}  // namespace lockstep
