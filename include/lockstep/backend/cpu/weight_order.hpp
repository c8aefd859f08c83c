// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <lockstep/core/config.hpp>

#include <cstdint>

#include <lockstep/backend/geometry.hpp>

namespace lockstep::cpu_backend {

/// The order in which the weights of a convolution lie.
enum class weight_order : std::uint8_t {
  output_major,  ///< PyTorch's: outputs x inputs x height x width
  tap_major,     ///< height x width x inputs x outputs, so that vectors of outputs are contiguous; for one group
};

/// Position of PyTorch's weight[o][i][h][w].
[[nodiscard]] constexpr std::int64_t weight_offset(const convolution_geometry& g, weight_order order, std::int64_t o,
                                                   std::int64_t i, std::int64_t h, std::int64_t w) {
  const std::int64_t inputs = g.in_channels / g.groups;
  if (order == weight_order::output_major) return ((o * inputs + i) * g.kernel.height + h) * g.kernel.width + w;
  return ((h * g.kernel.width + w) * inputs + i) * g.out_channels + o;
}

}  // namespace lockstep::cpu_backend
