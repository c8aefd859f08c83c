// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <lockstep/core/config.hpp>

#include <cstdint>
#include <type_traits>

#include <lockstep/backend/convolution_algorithm.hpp>
#include <lockstep/backend/cpu/context.hpp>
#include <lockstep/backend/cpu/direct_convolution.hpp>
#include <lockstep/backend/cpu/few_channels/convolution.hpp>
#include <lockstep/backend/cpu/weight_order.hpp>
#include <lockstep/backend/cpu/winograd/convolution.hpp>
#include <lockstep/backend/cpu/winograd/transforms.hpp>
#include <lockstep/backend/geometry.hpp>

namespace lockstep::cpu_backend {

template <convolution_algorithm Algorithm>
using winograd_tiles = std::conditional_t<Algorithm == convolution_algorithm::f2, winograd::f2, winograd::f4>;

/// True when a convolution is computed by Winograd's algorithm.
template <convolution_geometry G, convolution_algorithm Algorithm>
inline constexpr bool uses_winograd =
    Algorithm != convolution_algorithm::direct && winograd::fits<winograd_tiles<Algorithm>>(G);

template <convolution_geometry G, convolution_algorithm Algorithm>
using convolution_runner = std::conditional_t<
    uses_winograd<G, Algorithm>, winograd::convolution_runner<winograd_tiles<Algorithm>>,
    std::conditional_t<few_channels::fits(G), few_channels::convolution_runner<G>, direct_convolution_runner>>;

/// Two-dimensional convolution, activations channels-last.
template <convolution_geometry G, convolution_algorithm Algorithm = convolution_algorithm::f4>
class convolution : public convolution_runner<G, Algorithm> {
 public:
  convolution(context& c, std::int64_t samples) : convolution_runner<G, Algorithm>(c, G, samples) {}

  /// Bytes that an object for `samples` samples keeps, without the context's workspace and what oneDNN allocates.
  [[nodiscard]] static constexpr std::int64_t kept_bytes(std::int64_t samples) {
    if constexpr (uses_winograd<G, Algorithm>)
      return convolution_runner<G, Algorithm>::kept_size(G, samples) * static_cast<std::int64_t>(sizeof(float));
    else
      return 0;
  }

  /// Position of PyTorch's weight[o][i][h][w] in the flat range.
  [[nodiscard]] static constexpr std::int64_t weight_offset(std::int64_t o, std::int64_t i, std::int64_t h,
                                                            std::int64_t w) {
    constexpr auto order = uses_winograd<G, Algorithm> ? weight_order::tap_major : weight_order::output_major;
    return cpu_backend::weight_offset(G, order, o, i, h, w);
  }
};

}  // namespace lockstep::cpu_backend
