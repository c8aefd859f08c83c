// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <lockstep/core/config.hpp>

#include <algorithm>
#include <cstdint>

#include <lockstep/backend/geometry.hpp>
#include <lockstep/inference/value_layout.hpp>

/// \file
/// Which way a convolution is computed in, and what its kernels are compiled for.

namespace lockstep::detail::infer {

/// A convolution without padding on values that lie somehow.
struct convolution_shape {
  convolution_geometry g{};
  value_layout in{};
  value_layout out{};
  bool relu = false;
  bool adds = false;

  friend constexpr bool operator==(const convolution_shape&, const convolution_shape&) = default;
};

/// Vectors of channels in a block of weights.
[[nodiscard]] constexpr std::int64_t block_vectors(std::int64_t vectors, std::int64_t vector) {
  for (std::int64_t b = vector == 16 ? 4 : 2; b > 1; --b)
    if (vectors % b == 0) return b;
  return 1;
}

/// Sums that a kernel keeps in registers, beside its operands.
[[nodiscard]] constexpr std::int64_t sums_in_registers(std::int64_t vector) {
  return vector == 16 ? 24 : vector == 8 ? 12 : 8;
}

/// The extents of a picture in its frame of zeros.
[[nodiscard]] constexpr extent2 framed(const convolution_geometry& g) {
  return {g.in.height + 2 * g.padding.height, g.in.width + 2 * g.padding.width};
}

/// Vectors of neighbouring pixels, rows and the columns between them taken as one row.
[[nodiscard]] constexpr std::int64_t pixel_vectors(const convolution_geometry& g, std::int64_t vector) {
  const extent2 frame = framed(g);
  return round_up((g.out().height - 1) * frame.width + g.out().width, vector) / vector;
}

/// True where vectors along rows have fewer idle lanes than vectors along channels.
[[nodiscard]] constexpr bool goes_along_rows(const convolution_geometry& g, std::int64_t vector) {
  if (g.groups != 1 || g.stride != extent2{1} || 2 * g.out_channels > sums_in_registers(vector)) return false;
  const std::int64_t along_rows = pixel_vectors(g, vector) * g.out_channels;
  const std::int64_t along_channels = g.out().height * g.out().width * round_up(g.out_channels, vector) / vector;
  return along_rows < along_channels;
}

/// The output of vectors along rows: planes of rows as long as the frame's.
[[nodiscard]] constexpr value_layout pixel_layout(const convolution_geometry& g, const dims& extents,
                                                  std::int64_t vector) {
  value_layout l = plain_layout(extents);
  l.row_step = framed(g).width;
  l.channel_step = pixel_vectors(g, vector) * vector;
  l.size = l.channels * l.channel_step;
  return l;
}

/// The input of a convolution in its frame, in the order in which it lies without.
[[nodiscard]] constexpr value_layout frame_layout(const convolution_geometry& g, const value_layout& in,
                                                  bool along_rows, std::int64_t vector) {
  const extent2 frame = framed(g);
  const dims extents{g.in_channels, frame.height, frame.width};
  if (in.is_channels_last() && !along_rows) {
    value_layout l = channels_last_layout(extents, 1);
    l.size = round_up(l.size, vector);
    return l;
  }
  value_layout l = plain_layout(extents);
  std::int64_t end = l.elements();
  if (along_rows) {
    const std::int64_t last_tap =
        (g.kernel.height - 1) * g.dilation.height * frame.width + (g.kernel.width - 1) * g.dilation.width;
    end = (std::max)(end, (g.in_channels - 1) * l.channel_step + last_tap + pixel_vectors(g, vector) * vector);
  }
  l.size = round_up(end, vector);
  return l;
}

}  // namespace lockstep::detail::infer
