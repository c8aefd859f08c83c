// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <lockstep/core/config.hpp>

#include <cstdint>

#include <lockstep/backend/cpu/array.hpp>
#include <lockstep/backend/geometry.hpp>

/// \file
/// How the pictures of a convolution are cut into tiles, and how transformed tiles lie in memory: in groups of
/// `group_rows<V>` tiles, where each point of a group is a matrix with one row for each tile.

namespace lockstep::cpu_backend::winograd {

/// Pictures of one side of a convolution, channels-last, under a grid of tiles.
struct tile_grid {
  std::int64_t channels = 1;
  extent2 picture{1};
  extent2 tiles{1};   ///< in a picture
  extent2 origin{0};  ///< of the first tile; negative where the picture is padded
  extent2 stride{1};  ///< from tile to tile, in pixels

  [[nodiscard]] constexpr std::int64_t per_picture() const { return tiles.height * tiles.width; }
};

/// Number of tiles of `side` pixels that cover `pixels` pixels.
[[nodiscard]] constexpr extent2 tiles_over(extent2 pixels, std::int64_t side) {
  return {(pixels.height + side - 1) / side, (pixels.width + side - 1) / side};
}

/// The tiles of F over outputs.
template <class F>
[[nodiscard]] constexpr tile_grid output_grid(std::int64_t channels, extent2 out) {
  return {.channels = channels,
          .picture = out,
          .tiles = tiles_over(out, F::outputs),
          .origin = {0},
          .stride = {F::outputs}};
}

/// The tiles of F over inputs, whose pixels the outputs of a tile depend on.
template <class F>
[[nodiscard]] constexpr tile_grid input_grid(std::int64_t channels, extent2 in, extent2 out, extent2 padding) {
  return {.channels = channels,
          .picture = in,
          .tiles = tiles_over(out, F::outputs),
          .origin = {-padding.height, -padding.width},
          .stride = {F::outputs}};
}

/// A tile's corner, which may lie outside the picture.
struct tile_corner {
  std::int64_t sample, row, column;
};

/// The corner of tile t of all pictures' tiles.
[[nodiscard]] constexpr tile_corner corner_of(const tile_grid& grid, std::int64_t t) {
  const std::int64_t place = t % grid.per_picture();
  return {t / grid.per_picture(), grid.origin.height + place / grid.tiles.width * grid.stride.height,
          grid.origin.width + place % grid.tiles.width * grid.stride.width};
}

/// Sets `pixels` to the pixels of a tile of Side x Side pixels: those in the picture, and `zeros` outside of it.
template <int Side>
LOCKSTEP_ALWAYS_INLINE void find_pixels(const tile_grid& grid, const tile_corner& corner, const float* x,
                                        const float* zeros, array_of<const float*, Side * Side>& pixels) {
  const std::int64_t pixel_step = grid.channels;
  const std::int64_t row_step = grid.picture.width * pixel_step;
  x += (corner.sample * grid.picture.height + corner.row) * row_step + corner.column * pixel_step;
  const bool whole = corner.row >= 0 && corner.row + Side <= grid.picture.height && corner.column >= 0 &&
                     corner.column + Side <= grid.picture.width;
  for (int i = 0; i < Side; ++i, x += row_step) {
    const bool in_rows = corner.row + i >= 0 && corner.row + i < grid.picture.height;
    for (int j = 0; j < Side; ++j) {
      const bool inside = whole || (in_rows && corner.column + j >= 0 && corner.column + j < grid.picture.width);
      pixels[i * Side + j] = inside ? x + j * pixel_step : zeros;
    }
  }
}

}  // namespace lockstep::cpu_backend::winograd
