// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <lockstep/core/config.hpp>

#include <algorithm>
#include <cstdint>
#include <type_traits>

#include <lockstep/backend/cpu/simd.hpp>
#include <lockstep/backend/cpu/winograd/products.hpp>
#include <lockstep/backend/cpu/winograd/transform_tiles.hpp>

/// \file
/// How output channels are cut into panels, and how much memory panels and transformed tiles take.

namespace lockstep::cpu_backend::winograd {

/// Calls f(std::integral_constant<int, vectors>, first channel) for each panel of `channels` channels, a multiple of
/// sixteen.
template <class V, class F>
void each_panel(std::int64_t channels, const F& f) {
  std::int64_t c = 0;
  for (; c + panel_channels<V> <= channels; c += panel_channels<V>) f(std::integral_constant<int, 2>{}, c);
  if constexpr (lanes<V> == 16)
    if (c < channels) f(std::integral_constant<int, 1>{}, c);
}

/// Where the panel that begins with `channel` lies when each of its points has a matrix of `depth` rows.
template <class V>
[[nodiscard]] constexpr std::int64_t panel_place(std::int64_t points, std::int64_t depth, std::int64_t channel) {
  return channel / panel_channels<V> * points * point_step(depth * panel_channels<V>);
}

/// Floats that the panels of `channels` channels take at most.
[[nodiscard]] constexpr std::int64_t panels_size(std::int64_t points, std::int64_t depth, std::int64_t channels) {
  return channels / 16 * points * point_step(depth * 16);
}

/// Floats that `tiles` tiles, a multiple of 12, take at most when each of their points has `row` floats.
[[nodiscard]] constexpr std::int64_t tiles_size(std::int64_t points, std::int64_t tiles, std::int64_t row) {
  return tiles / 6 * points * point_step(6 * row);
}

/// Number of tiles to transform at once when a tile takes `floats` floats and all should fit `bytes`: whole groups.
[[nodiscard]] constexpr std::int64_t tiles_at_once(std::int64_t floats, std::int64_t bytes) {
  constexpr std::int64_t group = 12, most = 96;
  const std::int64_t fit = bytes / (static_cast<std::int64_t>(sizeof(float)) * floats) / group * group;
  return (std::min)((std::max)(fit, 2 * group), most);
}

}  // namespace lockstep::cpu_backend::winograd
