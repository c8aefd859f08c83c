// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <lockstep/core/config.hpp>

#include <algorithm>
#include <cstdint>
#include <type_traits>

#include <lockstep/backend/cpu/simd.hpp>
#include <lockstep/backend/cpu/winograd/panels.hpp>
#include <lockstep/backend/cpu/winograd/products.hpp>
#include <lockstep/backend/cpu/winograd/tile_grid.hpp>
#include <lockstep/backend/cpu/winograd/transform_tiles.hpp>
#include <lockstep/backend/cpu/winograd/transform_weights.hpp>
#include <lockstep/backend/geometry.hpp>
#include <lockstep/core/tensor.hpp>

namespace lockstep::cpu_backend::winograd {

/// A 3 x 3 convolution of stride 1 with weights that have been transformed: the forward pass, or that of gradients back
/// to inputs. F says how many outputs a tile has.
template <class F>
class picture_map {
  static constexpr std::int64_t points = F::points * F::points;

 public:
  /// Pictures of `in` pixels and `from` channels become pictures of `out` pixels and `to` channels.
  picture_map(std::int64_t from, extent2 in, std::int64_t to, extent2 out, extent2 padding)
      : in_(input_grid<F>(from, in, out, padding)),
        out_(output_grid<F>(to, out)),
        at_once_(tiles_at_once(points * (from + 32), 768 << 10)),
        weights_(weights_size(from, to)),
        zeros_(from) {}

  /// Floats of the transformed weights.
  [[nodiscard]] static constexpr std::int64_t weights_size(std::int64_t from, std::int64_t to) {
    return panels_size(points, from, to);
  }

  /// Floats of workspace that `run` needs.
  [[nodiscard]] std::int64_t workspace_size() const {
    return tiles_size(points, at_once_, in_.channels) + tiles_size(points, at_once_, 32);
  }

  /// Takes weights: taps x from x to.
  template <class V>
  void take(const float* w) {
    each_panel<V>(out_.channels, [&]<int Vectors>(std::integral_constant<int, Vectors>, std::int64_t channel) {
      run_for<V, transform_weights<F, Vectors>>(in_.channels, out_.channels, w + channel,
                                                weights_.data() + panel_place<V>(points, in_.channels, channel));
    });
  }

  /// y = relu_if(x * w + bias) for `samples` pictures, channels-last; bias may be null.
  template <class V>
  void run(float* workspace, std::int64_t samples, const float* x, const float* bias, bool rectify, float* y) const {
    const std::int64_t all = samples * in_.per_picture();
    const point_rows inputs{workspace, in_.channels};
    float* const products = workspace + tiles_size(points, at_once_, in_.channels);
    for (std::int64_t first = 0; first < all; first += at_once_) {
      const tile_range tiles{first, (std::min)(at_once_, all - first)};
      run_for<V, transform_inputs<F>>(&in_, tiles, x, zeros_.data(), in_.channels, inputs);
      each_panel<V>(out_.channels, [&]<int Vectors>(std::integral_constant<int, Vectors>, std::int64_t channel) {
        constexpr std::int64_t panel = Vectors * lanes<V>;
        run_for<V, multiply_points<Vectors>>(points, tiles.count, inputs.values, in_.channels,
                                             weights_.data() + panel_place<V>(points, in_.channels, channel), products);
        run_for<V, transform_outputs<F>>(&out_, tiles, point_rows{products, panel},
                                         bias == nullptr ? bias : bias + channel, rectify, panel, y + channel);
      });
    }
  }

 private:
  tile_grid in_, out_;
  std::int64_t at_once_;  ///< tiles that are transformed at once
  aligned_buffer<float> weights_, zeros_;
};

}  // namespace lockstep::cpu_backend::winograd
