// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <lockstep/core/config.hpp>

#include <cstdint>

#include <lockstep/backend/channel_layout.hpp>

namespace lockstep {

/// A normalisation by statistics of the sample itself: a template argument of the primitive that a backend prepares.
/// Each sample is cut into `groups` of as many channels that follow each other, and each group is normalised for
/// itself. Weight and bias have one element for each channel.
struct sample_norm_geometry {
  channel_layout layout{};
  std::int64_t groups = 1;
  bool centred = true;  ///< subtracts the mean and divides by the standard deviation; else by the root mean square
  bool weight = true;
  bool bias = true;
  bool relu = false;               ///< y = max(0, ...)
  bool input_gradient = true;      ///< backward writes dx
  bool parameter_gradient = true;  ///< backward writes dw and db; else it does not touch them

  /// Channels and elements of a group.
  [[nodiscard]] constexpr std::int64_t channels() const { return layout.channels / groups; }
  [[nodiscard]] constexpr std::int64_t size() const { return channels() * layout.pixels; }

  friend constexpr bool operator==(const sample_norm_geometry&, const sample_norm_geometry&) = default;
};

}  // namespace lockstep
