// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <algorithm>
#include <cstdint>
#include <string>

#include <lockstep/core/probability.hpp>
#include <lockstep/data/augment/describe.hpp>
#include <lockstep/data/augment/planes.hpp>
#include <lockstep/data/augment/random_draws.hpp>

namespace lockstep::data {

/// Mirrors the picture, left to right, with probability P: as torchvision.transforms.RandomHorizontalFlip(P).
/// The sample is (channels, rows, columns) or (rows, columns).
template <probability P = 0.5>
struct flip {
  static_assert(P.valid(), "lockstep: flip: the probability lies between 0 and 1");

  [[nodiscard]] std::string describe() const {
    return detail::describe_call("flip", {static_cast<double>(P.parts) * 0x1p-32});
  }

  template <class View>
  void operator()(const View& picture, random_draws& draws) const {
    using planes = detail::planes_of<View>;
    static_assert(planes::valid,
                  "lockstep: flip: the samples are pictures of (channels, rows, columns) or (rows, columns)");
    if (!draws.happens(P)) return;
    planes::each(picture, [](float* plane, std::int64_t) {
      for (std::int64_t y = 0; y < planes::rows; ++y)
        std::reverse(plane + y * planes::columns, plane + (y + 1) * planes::columns);
    });
  }
};

}  // namespace lockstep::data
