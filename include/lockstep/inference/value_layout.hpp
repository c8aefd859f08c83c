// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <lockstep/core/config.hpp>

#include <cstdint>

#include <lockstep/core/shape.hpp>
#include <lockstep/inference/vectors.hpp>

/// \file
/// Where the elements of a value lie in a prediction.

namespace lockstep::detail::infer {

/// Up to three loops, outermost first, over elements that lie some steps apart.
struct loop_nest {
  std::int64_t count[3]{1, 1, 1};
  std::int64_t step[3]{0, 0, 0};

  /// Appends a loop inside the others, and makes one of two that visit evenly spaced elements.
  constexpr void add(std::int64_t n, std::int64_t by) {
    if (n == 1) return;
    if (count[2] > 1 && step[2] == n * by) {
      count[2] *= n;
      step[2] = by;
      return;
    }
    for (int i = 0; i < 2; ++i) {
      count[i] = count[i + 1];
      step[i] = step[i + 1];
    }
    count[2] = n;
    step[2] = by;
  }
  [[nodiscard]] constexpr std::int64_t size() const { return count[0] * count[1] * count[2]; }

  friend constexpr bool operator==(const loop_nest&, const loop_nest&) = default;
};

/// The elements of a sample as channels of pictures: (C, H, W) itself, a row or rows (T, C) as pictures T x 1 x C, one
/// row of n elements as n channels of one pixel. What flatten makes of a picture keeps the picture's channels.
///
/// `size` floats belong to a value, more than its elements where rows or pixels end in gaps; a kernel writes all of
/// them, and none of the gaps makes an operation slow or is read as an element.
struct value_layout {
  dims extents;
  std::int64_t channels = 1, height = 1, width = 1;
  std::int64_t channel_step = 1, row_step = 1, pixel_step = 1;
  std::int64_t size = 0;

  [[nodiscard]] constexpr std::int64_t at(std::int64_t c, std::int64_t h, std::int64_t w) const {
    return c * channel_step + h * row_step + w * pixel_step;
  }
  [[nodiscard]] constexpr std::int64_t elements() const { return channels * height * width; }
  /// True when elements lie in the order of PyTorch, without gaps between them.
  [[nodiscard]] constexpr bool is_plain() const {
    return (width == 1 || pixel_step == 1) && (height == 1 || row_step == width) &&
           (channels == 1 || channel_step == height * width);
  }
  /// True when the channels of a pixel lie side by side.
  [[nodiscard]] constexpr bool is_channels_last() const { return channel_step == 1 && channels > 1; }
  [[nodiscard]] constexpr bool is_flattened() const { return extents.rank == 1 && height * width > 1; }
  /// True when the elements of both lie at the same places.
  [[nodiscard]] constexpr bool lies_as(const value_layout& other) const {
    return channels == other.channels && height == other.height && width == other.width &&
           (channels == 1 || channel_step == other.channel_step) && (height == 1 || row_step == other.row_step) &&
           (width == 1 || pixel_step == other.pixel_step) && size == other.size;
  }
  /// All elements in the order in which they lie.
  [[nodiscard]] constexpr loop_nest in_memory_order() const {
    loop_nest nest;
    if (!is_channels_last()) nest.add(channels, channel_step);
    nest.add(height, row_step);
    nest.add(width, pixel_step);
    if (is_channels_last()) nest.add(channels, channel_step);
    return nest;
  }

  friend constexpr bool operator==(const value_layout&, const value_layout&) = default;
};

/// Sets the channels and pixels of these extents.
constexpr void take_extents(value_layout& l, const dims& extents) {
  l.extents = extents;
  l.channels = extents.rank == 2 || extents.rank == 3 ? extents[0] : extents.size();
  l.height = extents.rank == 3 ? extents[1] : 1;
  l.width = extents.rank == 3 ? extents[2] : extents.rank == 2 ? extents[1] : 1;
}

/// PyTorch's order, in a range that ends with a whole vector of `vector` floats.
[[nodiscard]] constexpr value_layout plain_layout(const dims& extents, std::int64_t vector = 1) {
  value_layout l;
  take_extents(l, extents);
  l.pixel_step = 1;
  l.row_step = l.width;
  l.channel_step = l.height * l.width;
  l.size = round_up(l.elements(), vector);
  return l;
}

/// Pixel by pixel, each of whole vectors of channels.
[[nodiscard]] constexpr value_layout channels_last_layout(const dims& extents, std::int64_t vector) {
  value_layout l;
  take_extents(l, extents);
  l.channel_step = 1;
  l.pixel_step = round_up(l.channels, vector);
  l.row_step = l.width * l.pixel_step;
  l.size = l.height * l.row_step;
  return l;
}

/// Rows (T, C), each of whole vectors.
[[nodiscard]] constexpr value_layout rows_layout(const dims& extents, std::int64_t vector) {
  if (extents.rank != 2) return plain_layout(extents, vector);
  value_layout l = plain_layout(extents);
  l.channel_step = l.row_step = round_up(l.width, vector);
  l.size = l.channels * l.channel_step;
  return l;
}

/// The same elements as one row.
[[nodiscard]] constexpr value_layout flattened(value_layout l) {
  const dims row{l.extents.size()};
  if (l.is_plain()) {
    take_extents(l, row);
    l.channel_step = 1;
    l.row_step = l.pixel_step = l.channels;
  }
  l.extents = row;
  return l;
}

}  // namespace lockstep::detail::infer
