// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <cstddef>
#include <cstdint>

#include <lockstep/core/shape.hpp>
#include <lockstep/core/tensor.hpp>

namespace lockstep::data::detail {

/// A sample as the planes of a picture: (channels, rows, columns), or (rows, columns), which is one plane.
template <class View>
struct planes_of {
  static constexpr bool valid = View::rank() == 2 || View::rank() == 3;
  static constexpr std::size_t last = valid ? View::rank() - 1 : 0;
  static constexpr std::int64_t channels = View::rank() == 3 ? static_cast<std::int64_t>(View::static_extent(0)) : 1;
  static constexpr std::int64_t rows = static_cast<std::int64_t>(View::static_extent(valid ? last - 1 : 0));
  static constexpr std::int64_t columns = static_cast<std::int64_t>(View::static_extent(last));

  /// Calls `change(plane, channel)` with the first value of each plane.
  template <class Change>
  static void each(const View& picture, const Change& change) {
    for (std::int64_t c = 0; c < channels; ++c) change(picture.data_handle() + c * rows * columns, c);
  }
};

/// A part of every plane: rows [top, bottom), columns [left, right).
struct box {
  std::int64_t top = 0;
  std::int64_t left = 0;
  std::int64_t bottom = 0;
  std::int64_t right = 0;
};

}  // namespace lockstep::data::detail
