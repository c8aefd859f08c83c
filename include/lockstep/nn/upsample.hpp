// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <cstdint>
#include <string_view>

#include <lockstep/backend/capabilities.hpp>
#include <lockstep/backend/geometry.hpp>
#include <lockstep/nn/layer.hpp>
#include <lockstep/nn/resampling_op.hpp>

namespace lockstep {

/// Options of upsample and upsample_to. Each pixel is the nearest one of the input, rounded down; the default.
struct nearest {};
/// Each pixel is interpolated between four of the input.
struct bilinear {};
/// With bilinear: the centres of the corner pixels stay where they are, as with align_corners=True in PyTorch. Without
/// it pixels are areas, and the corners of the picture stay.
struct align_corners {};

namespace detail {

/// Collects options, in any order.
struct upsample_options {
  bool is_nearest = false;
  bool is_bilinear = false;
  bool aligned = false;
  bool known = true;

  constexpr void take(nearest) { is_nearest = true; }
  constexpr void take(bilinear) { is_bilinear = true; }
  constexpr void take(align_corners) { aligned = true; }
  template <class Other>
  constexpr void take(Other) {
    known = false;
  }

  template <class... Options>
  static consteval upsample_options of() {
    upsample_options all;
    (all.take(Options{}), ...);
    return all;
  }

  [[nodiscard]] constexpr resampling_kind kind() const {
    if (!is_bilinear) return resampling_kind::nearest;
    return aligned ? resampling_kind::bilinear_corners : resampling_kind::bilinear;
  }
};

/// What upsample and upsample_to have in common. Given are the extents that leave, or those by those that arrive.
template <bool IsScale, extent2 Given, class... Options>
struct upsampling {
  static constexpr std::string_view kind = "upsample";
  static constexpr layer_traits traits = resampling_traits;
  static constexpr upsample_options options = upsample_options::of<Options...>();
  template <class B>
  static constexpr bool runs_on = resamples_pictures<B>;

  template <dims Arriving>
  static consteval void check() {
    static_assert(
        Arriving.rank == 3,
        "lockstep: upsample: the sample that arrives (Arriving) is not a picture of channels x height x width");
    static_assert(Given.height > 0 && Given.width > 0,
                  "lockstep: upsample: scales and extents are positive whole numbers");
    static_assert(options.known && !(options.is_nearest && options.is_bilinear),
                  "lockstep: upsample: takes nearest or bilinear, and with bilinear align_corners");
    static_assert(!options.aligned || options.is_bilinear,
                  "lockstep: upsample: align_corners goes with bilinear: the nearest pixel has no corners to align");
  }

  [[nodiscard]] static constexpr dims output(const dims& in) {
    if (in.rank != 3) return dims{1, 1, 1};  // check() reports this; avoid further errors
    if (Given.height <= 0 || Given.width <= 0) return in;
    return dims{in[0], Given.height * (IsScale ? in[1] : 1), Given.width * (IsScale ? in[2] : 1)};
  }
  [[nodiscard]] static constexpr parameter_list parameters(const dims&) { return parameter_list{}; }
  /// A product and a sum for each pixel that is read.
  [[nodiscard]] static constexpr std::int64_t flops(const dims& in) {
    return output(in).size() * (options.is_bilinear ? 8 : 0);
  }

  template <class B, node_traits T>
  using op = resampling_op<B, T, options.kind()>;
};

}  // namespace detail

/// Pictures of Scale times the extents that arrive, as torch.nn.Upsample(scale_factor=Scale). Scale is a whole number
/// or `extent2{height, width}` of them. Options: nearest (the default) or bilinear, and with bilinear align_corners.
template <extent2 Scale, class... Options>
struct upsample : detail::upsampling<true, Scale, Options...> {};

/// Pictures of extents Size, larger or smaller than those that arrive, as torch.nn.Upsample(size=Size). Options as
/// above.
template <extent2 Size, class... Options>
struct upsample_to : detail::upsampling<false, Size, Options...> {};

}  // namespace lockstep
