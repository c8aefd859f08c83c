// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <lockstep/core/config.hpp>

#include <cstdint>

#include <lockstep/backend/geometry.hpp>

/// \file
/// Pictures of other extents: what an output reads along one axis. Along two axes it reads the products of both, so
/// that one axis says all.

namespace lockstep {

enum class resampling_kind : std::uint8_t {
  average,           ///< of bins that cover the input, torch.nn.AdaptiveAvgPool2d
  nearest,           ///< torch.nn.Upsample(mode="nearest")
  bilinear,          ///< mode="bilinear": pixels are areas, align_corners=False
  bilinear_corners,  ///< the centres of corner pixels keep their places, align_corners=True
};

/// A change of each channel's extents.
struct resampling_geometry {
  resampling_kind kind = resampling_kind::average;
  std::int64_t channels = 1;
  extent2 in{1};
  extent2 out{1};

  [[nodiscard]] constexpr std::int64_t in_size() const { return channels * in.height * in.width; }
  [[nodiscard]] constexpr std::int64_t out_size() const { return channels * out.height * out.width; }

  friend constexpr bool operator==(const resampling_geometry&, const resampling_geometry&) = default;
};

namespace detail {

/// The position in an axis of `in` inputs that output o of `out` stands at, times `*unit`; whole numbers hold it.
constexpr std::int64_t resampling_place(resampling_kind kind, std::int64_t in, std::int64_t out, std::int64_t o,
                                        std::int64_t* unit) {
  if (kind == resampling_kind::bilinear_corners) {
    *unit = out > 1 ? out - 1 : 1;
    return out > 1 ? o * (in - 1) : 0;
  }
  *unit = 2 * out;  // (o + 1/2) in / out - 1/2
  const std::int64_t place = (2 * o + 1) * in - out;
  return place < 0 ? 0 : place;
}

}  // namespace detail

/// Calls f(input, weight) for the inputs, neighbours in rising order, whose weighted sum output `o` of an axis is. The
/// weights of an output add up to 1.
template <class F>
constexpr void for_each_tap(resampling_kind kind, std::int64_t in, std::int64_t out, std::int64_t o, const F& f) {
  switch (kind) {
    case resampling_kind::average: {
      const std::int64_t first = o * in / out;
      const std::int64_t last = ((o + 1) * in + out - 1) / out;
      for (std::int64_t i = first; i < last; ++i) f(i, 1 / static_cast<double>(last - first));
      return;
    }
    case resampling_kind::nearest:
      f(o * in / out, 1.0);
      return;
    case resampling_kind::bilinear:
    case resampling_kind::bilinear_corners:
      break;
  }
  std::int64_t unit = 1;
  const std::int64_t place = detail::resampling_place(kind, in, out, o, &unit);
  const std::int64_t before = place / unit;
  const double share = static_cast<double>(place % unit) / static_cast<double>(unit);
  if (before + 1 >= in) return f(in - 1, 1.0);
  f(before, 1 - share);
  if (share > 0) f(before + 1, share);
}

}  // namespace lockstep
