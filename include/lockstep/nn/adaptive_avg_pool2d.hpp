// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <cstdint>
#include <string_view>

#include <lockstep/backend/capabilities.hpp>
#include <lockstep/nn/layer.hpp>
#include <lockstep/nn/resampling_op.hpp>

namespace lockstep {

/// The means of Height x Width bins that cover each channel of a picture of any extents, as torch.nn.AdaptiveAvgPool2d:
/// bin i of an axis has the inputs from floor(i in / out) to ceil((i + 1) in / out) - 1, so that bins may share inputs.
/// `adaptive_avg_pool2d<1>` is the mean of the whole channel.
template <std::int64_t Height, std::int64_t Width = Height>
struct adaptive_avg_pool2d {
  static constexpr std::string_view kind = "adaptive_avg_pool2d";
  static constexpr layer_traits traits = detail::resampling_traits;
  template <class B>
  static constexpr bool runs_on = resamples_pictures<B>;

  template <dims Arriving>
  static consteval void check() {
    static_assert(Arriving.rank == 3,
                  "lockstep: adaptive_avg_pool2d: the sample that arrives (Arriving) is not a picture of channels x "
                  "height x width; pooling comes before flatten");
    static_assert(Height > 0 && Width > 0, "lockstep: adaptive_avg_pool2d: the numbers of bins are positive");
  }

  [[nodiscard]] static constexpr dims output(const dims& in) {
    return dims{in[0], Height > 0 ? Height : 1, Width > 0 ? Width : 1};
  }
  [[nodiscard]] static constexpr parameter_list parameters(const dims&) { return parameter_list{}; }
  /// One operation for each element, as though bins shared none.
  [[nodiscard]] static constexpr std::int64_t flops(const dims& in) { return in.size(); }

  template <class B, node_traits T>
  using op = detail::resampling_op<B, T, resampling_kind::average>;
};

}  // namespace lockstep
