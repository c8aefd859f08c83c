// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <lockstep/core/config.hpp>

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <string>

#include <lockstep/data/augment/describe.hpp>
#include <lockstep/data/augment/planes.hpp>
#include <lockstep/data/augment/random_draws.hpp>

namespace lockstep::data {

/// Surrounds the picture with Padding rows and columns of zeros and cuts a window of the picture's own extents out at
/// random, each place with equal probability: as torchvision.transforms.RandomCrop(extents, padding=Padding).
/// The sample is (channels, rows, columns) or (rows, columns). Padding may exceed the picture, which can then vanish.
template <int Padding>
struct pad_and_crop {
  static_assert(Padding >= 0, "lockstep: pad_and_crop: the padding is zero or more");

  [[nodiscard]] std::string describe() const { return detail::describe_call("pad_and_crop", {Padding}); }

  template <class View>
  void operator()(const View& picture, random_draws& draws) const {
    using planes = detail::planes_of<View>;
    static_assert(planes::valid,
                  "lockstep: pad_and_crop: the samples are pictures of (channels, rows, columns) or (rows, columns)");
    const std::int64_t down = draws.below(2 * Padding + 1) - Padding;  // of the window, from the picture
    const std::int64_t right = draws.below(2 * Padding + 1) - Padding;
    if (down == 0 && right == 0) return;
    planes::each(picture, [&](float* plane, std::int64_t) { move<planes::rows, planes::columns>(plane, down, right); });
  }

 private:
  /// Row y, column x becomes what was at (y + down, x + right), and zero where there was nothing.
  template <std::int64_t Rows, std::int64_t Columns>
  static void move(float* plane, std::int64_t down, std::int64_t right) {
    const std::int64_t zeros = (std::min)(right < 0 ? -right : right, Columns);  // in each row, at one of its ends
    const auto kept = static_cast<std::size_t>(Columns - zeros);
    const std::int64_t to = right < 0 ? zeros : 0;
    const std::int64_t from = right < 0 ? 0 : zeros;
    for (std::int64_t i = 0; i < Rows; ++i) {
      const std::int64_t y = down < 0 ? Rows - 1 - i : i;  // so that no row is written before it has been read
      float* const row = plane + y * Columns;
      if (y + down < 0 || y + down >= Rows) {
        std::fill_n(row, Columns, 0.0F);
        continue;
      }
      std::memmove(row + to, plane + (y + down) * Columns + from, kept * sizeof(float));
      std::fill_n(row + (right < 0 ? 0 : Columns - zeros), zeros, 0.0F);
    }
  }
};

}  // namespace lockstep::data
