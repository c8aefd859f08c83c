// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <cstdint>
#include <string_view>

#include <lockstep/nn/layer.hpp>

namespace lockstep {

/// A picture C x H x W as the rows of its pixels, (H W, C): y[h W + w][c] = x[c][h][w], as x.flatten(2).transpose(1, 2)
/// in PyTorch. Costs nothing where the backend keeps pictures channels-last; elsewhere one change of order.
struct pixel_rows {
  static constexpr std::string_view kind = "pixel_rows";
  static constexpr layer_traits traits{.is_pixel_rows = true, .backward_reads_input = false};

  template <dims Arriving>
  static consteval void check() {
    static_assert(Arriving.rank == 3,
                  "lockstep: pixel_rows: the sample that arrives (Arriving) is not a picture of channels x height x "
                  "width");
  }

  [[nodiscard]] static constexpr dims output(const dims& in) {
    return in.rank == 3 ? dims{in[1] * in[2], in[0]} : dims{1, in.size()};  // check() reports what is no picture
  }
  [[nodiscard]] static constexpr parameter_list parameters(const dims&) { return parameter_list{}; }
  [[nodiscard]] static constexpr std::int64_t flops(const dims&) { return 0; }
};

}  // namespace lockstep
