// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <lockstep/core/config.hpp>

#include <algorithm>
#include <cstdint>
#include <string>

#include <lockstep/data/augment/describe.hpp>
#include <lockstep/data/augment/planes.hpp>
#include <lockstep/data/augment/random_draws.hpp>

namespace lockstep::data {

/// Zeroes a square of Size rows and columns in all channels. Its centre is any place of the picture with equal
/// probability, so part of it may lie outside; with an even Size the centre is the first place of the second half. To
/// fill it with the mean of the data, place it after normalise. The sample is (channels, rows, columns) or (rows,
/// columns), and may be smaller than the square.
/// Source: DeVries and Taylor, "Improved regularization of convolutional neural networks with cutout", 2017.
template <int Size>
struct cutout {
  static_assert(Size > 0, "lockstep: cutout: the square has one row or more");

  [[nodiscard]] std::string describe() const { return detail::describe_call("cutout", {Size}); }

  template <class View>
  void operator()(const View& picture, random_draws& draws) const {
    using planes = detail::planes_of<View>;
    static_assert(planes::valid,
                  "lockstep: cutout: the samples are pictures of (channels, rows, columns) or (rows, columns)");
    const std::int64_t top = draws.below(planes::rows) - Size / 2;
    const std::int64_t left = draws.below(planes::columns) - Size / 2;
    const std::int64_t first = (std::max)(left, std::int64_t{0});
    const std::int64_t count = (std::min)(left + Size, planes::columns) - first;
    planes::each(picture, [&](float* plane, std::int64_t) {
      for (std::int64_t y = (std::max)(top, std::int64_t{0}); y < (std::min)(top + Size, planes::rows); ++y)
        std::fill_n(plane + y * planes::columns + first, count, 0.0F);
    });
  }
};

}  // namespace lockstep::data
