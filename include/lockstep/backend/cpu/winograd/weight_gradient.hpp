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

/// The gradients of the weights and the bias of a 3 x 3 convolution of stride 1. F says how many outputs a tile has.
///
/// Works on some tiles, a slice of the input channels and a panel of the output channels at a time, so that their
/// products stay in the second-level cache: for deep layers the sums at all points take four times the memory of the
/// weights. Sums of a panel become gradients of weights as soon as the last tiles are in them.
template <class F>
class weight_gradient {
  static constexpr std::int64_t points = F::points * F::points;

 public:
  /// For at most `samples` samples a pass.
  weight_gradient(const convolution_geometry& g, std::int64_t samples)
      : in_(input_grid<F>(g.in_channels, g.in, g.out(), g.padding)),
        out_(output_grid<F>(g.out_channels, g.out())),
        slice_(slice_of(g)),
        slice_size_(panels_size(points, slice_, g.out_channels)),
        at_once_(tiles_at_once(points * (slice_ + 32), cache_bytes)),
        sums_(kept_size(g, samples)),
        bias_(g.out_channels),
        zeros_((std::max)(slice_, std::int64_t{32})) {}

  /// Floats of sums that are kept while there are more tiles than are transformed at once.
  [[nodiscard]] static constexpr std::int64_t kept_size(const convolution_geometry& g, std::int64_t samples) {
    const std::int64_t slice = slice_of(g);
    const std::int64_t tiles = samples * output_grid<F>(1, g.out()).per_picture();
    if (tiles <= tiles_at_once(points * (slice + 32), cache_bytes)) return 0;
    return (g.in_channels + slice - 1) / slice * panels_size(points, slice, g.out_channels);
  }

  /// Floats of workspace that `run` needs.
  [[nodiscard]] std::int64_t workspace_size() const {
    return tiles_size(points, at_once_, slice_) + tiles_size(points, at_once_, 32) + panels_size(points, slice_, 32);
  }

  /// dw (taps x in x out) and db (+)= the gradients for `samples` pictures, channels-last; db may be null.
  template <class V>
  void run(float* workspace, std::int64_t samples, const float* x, const float* dy, float* dw, float* db,
           bool accumulate) {
    std::fill_n(bias_.data(), bias_.size(), 0.F);
    const std::int64_t all = samples * in_.per_picture();
    const std::int64_t at_once = at_once_;
    float* const gradients = workspace + tiles_size(points, at_once, slice_);
    float* const own_sums = gradients + tiles_size(points, at_once, 32);
    for (std::int64_t first = 0; first < all; first += at_once) {
      const tile_range tiles{first, (std::min)(at_once, all - first)};
      const bool last = first + at_once >= all;
      for (std::int64_t input = 0; input < in_.channels; input += slice_) {
        const std::int64_t inputs = (std::min)(slice_, in_.channels - input);
        run_for<V, transform_inputs<F>>(&in_, tiles, x + input, zeros_.data(), inputs, point_rows{workspace, inputs});
        each_panel<V>(out_.channels, [&]<int Vectors>(std::integral_constant<int, Vectors>, std::int64_t channel) {
          constexpr std::int64_t panel = Vectors * lanes<V>;
          run_for<V, transform_gradients<F>>(&out_, tiles, dy + channel, zeros_.data(), panel,
                                             point_rows{gradients, panel},
                                             input == 0 && db != nullptr ? bias_.data() + channel : nullptr);
          float* const sums = first == 0 && last ? own_sums : place<V>(input, inputs, channel);
          run_for<V, sum_point_products<Vectors>>(points, tiles.count, workspace, inputs, gradients, first > 0, sums);
          if (last)
            run_for<V, transform_weight_gradients<F, Vectors>>(in_.channels, inputs, out_.channels, sums, accumulate,
                                                               dw + input * out_.channels + channel);
        });
      }
    }
    if (db != nullptr)
      for (std::int64_t o = 0; o < out_.channels; ++o) db[o] = accumulate ? db[o] + bias_.data()[o] : bias_.data()[o];
  }

 private:
  static constexpr std::int64_t cache_bytes = std::int64_t{1} << 20U;

  [[nodiscard]] static constexpr std::int64_t slice_of(const convolution_geometry& g) {
    return (std::min)(g.in_channels, std::int64_t{64});
  }

  /// The sums of `inputs` input channels from `input` on and the panel that begins with `channel`.
  template <class V>
  [[nodiscard]] float* place(std::int64_t input, std::int64_t inputs, std::int64_t channel) {
    return sums_.data() + input / slice_ * slice_size_ + panel_place<V>(points, inputs, channel);
  }

  tile_grid in_, out_;
  std::int64_t slice_;       ///< input channels that are transformed at once
  std::int64_t slice_size_;  ///< floats of their sums
  std::int64_t at_once_;     ///< tiles that are transformed at once
  aligned_buffer<float> sums_, bias_, zeros_;
};

}  // namespace lockstep::cpu_backend::winograd
