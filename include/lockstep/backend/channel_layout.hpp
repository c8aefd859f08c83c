// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <lockstep/core/config.hpp>

#include <cstdint>

namespace lockstep {

/// How the channels of a sample lie in memory: pictures in either order, or rows of features, whose `pixels` is 1.
struct channel_layout {
  std::int64_t channels = 1;
  std::int64_t pixels = 1;
  bool channels_last = false;

  [[nodiscard]] constexpr std::int64_t size() const { return channels * pixels; }
  /// Where an element of a sample lies.
  [[nodiscard]] constexpr std::int64_t at(std::int64_t channel, std::int64_t pixel) const {
    return channels_last ? pixel * channels + channel : channel * pixels + pixel;
  }
  /// True when an element's neighbour belongs to the next channel.
  [[nodiscard]] constexpr bool is_rows() const { return channels_last || pixels == 1; }

  friend constexpr bool operator==(const channel_layout&, const channel_layout&) = default;
};

}  // namespace lockstep
