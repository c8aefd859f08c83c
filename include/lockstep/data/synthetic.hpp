// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include <lockstep/core/error.hpp>
#include <lockstep/core/random.hpp>
#include <lockstep/core/shape.hpp>
#include <lockstep/data/dataset.hpp>

namespace lockstep::data {

struct synthetic_options {
  std::int64_t train_samples = 6'400;
  std::int64_t test_samples = 1'000;
  lockstep::seed seed{};
};

/// A drawn picture: red, green and blue planes of 32 rows and 32 columns, as in CIFAR-10.
using synthetic_sample = shape<3, 32, 32>;

namespace detail {

inline constexpr std::int64_t synthetic_classes = 10;
inline constexpr int synthetic_side = 32;

/// Returns whether the figure of class `kind` with half width `r` covers the point at (dx, dy) from its centre.
[[nodiscard]] constexpr bool synthetic_figure(std::int64_t kind, int dx, int dy, int r) {
  constexpr int line = 3;
  const int x = dx < 0 ? -dx : dx;
  const int y = dy < 0 ? -dy : dy;
  const int reach = (std::max)(x, y);
  const int square = x * x + y * y;
  if (reach > r) return false;
  switch (kind) {
    case 0:
      return square <= r * r;  // disc
    case 1:
      return square <= r * r && square > (r - line) * (r - line);  // ring
    case 2:
      return true;  // square
    case 3:
      return reach > r - line;  // frame
    case 4:
      return 2 * x <= dy + r;  // triangle
    case 5:
      return (std::min)(x, y) < 2;  // plus
    case 6:
      return (x > y ? x - y : y - x) < 2;  // cross
    case 7:
      return (dy + r) / 2 % 2 == 0;  // rows
    case 8:
      return (dx + r) / 2 % 2 == 0;  // columns
    default:
      return ((dx + r) / 2 + (dy + r) / 2) % 2 == 0;  // checkers
  }
}

/// Draws one picture of class `kind` into 3072 bytes. Integer arithmetic only: the same bytes on every machine.
inline void draw_synthetic(std::int64_t kind, const random_stream& draws, std::uint8_t* out) {
  constexpr int noise = 24;
  const auto between = [&](int low, int high, std::uint64_t index) {
    return low + static_cast<int>(draws.below(static_cast<std::uint32_t>(high - low + 1), index));
  };
  const int r = between(8, 11, 0);
  const int centre_x = between(14, 17, 1);
  const int centre_y = between(14, 17, 2);
  std::array<std::uint8_t, 2 * 3> colour{};
  // A fair coin decides which side of the contrast the figure takes, so that no pixel's mean tells the class.
  const bool inverted = draws.below(2, 3) != 0;
  for (std::size_t channel = 0; channel < 3; ++channel) {
    const int middle = between(96, 159, 4 + 2 * channel);
    const int contrast = between(32, 80, 5 + 2 * channel);
    colour[2 * channel] = static_cast<std::uint8_t>(inverted ? middle + contrast : middle - contrast);
    colour[2 * channel + 1] = static_cast<std::uint8_t>(inverted ? middle - contrast : middle + contrast);
  }
  constexpr std::uint64_t first_noise_block = 4;
  std::array<std::uint32_t, 4> bits{};
  std::uint64_t value = 0;
  for (std::size_t channel = 0; channel < 3; ++channel)
    for (int y = 0; y < synthetic_side; ++y)
      for (int x = 0; x < synthetic_side; ++x, ++value) {
        if (value % 16 == 0) bits = draws.block(first_noise_block + value / 16);
        const auto byte = static_cast<int>(bits[value / 4 % 4] >> 8U * (value % 4) & 0xffU);
        const bool inside = synthetic_figure(kind, x - centre_x, y - centre_y, r);
        const int colour_here = colour[2 * channel + (inside ? 1 : 0)];
        *out++ = static_cast<std::uint8_t>(std::clamp(colour_here + byte * (2 * noise + 1) / 256 - noise, 0, 255));
      }
}

/// `part` is 0 for the training and 1 for the test pictures.
template <class = void>
[[nodiscard]] dataset<synthetic_sample> synthetic_part(std::int64_t samples, lockstep::seed seed, std::uint64_t part) {
  if (samples < 0) throw value_error("synthetic", "zero samples or more", std::to_string(samples));
  const auto size = static_cast<std::size_t>(checked_multiply(samples, synthetic_sample::static_size));
  std::vector<std::uint8_t> pixels(size);
  std::vector<std::int64_t> labels(static_cast<std::size_t>(samples));
  for (std::int64_t i = 0; i < samples; ++i) {
    const random_stream draws(seed, random_purpose::synthetic_data, part, static_cast<std::uint64_t>(i));
    const std::int64_t kind = i % synthetic_classes;
    labels[static_cast<std::size_t>(i)] = kind;
    draw_synthetic(kind, draws, pixels.data() + i * synthetic_sample::static_size);
  }
  return {std::move(pixels),
          std::move(labels),
          synthetic_classes,
          {"disc", "ring", "square", "frame", "triangle", "plus", "cross", "rows", "columns", "checkers"}};
}

}  // namespace detail

/// Draws a picture set of ten classes that needs no files: figures of random size, place and colour under noise.
/// Sample i is of class i % 10, and depends only on the seed, on i and on the part (train or test). A convolutional
/// network learns it; a linear model cannot, because figure and ground swap colours at random.
/// Throws value_error on a negative number of samples.
template <class = void>
[[nodiscard]] split<synthetic_sample> synthetic(const synthetic_options& options = {}) {
  return {detail::synthetic_part(options.train_samples, options.seed, 0),
          detail::synthetic_part(options.test_samples, options.seed, 1)};
}

}  // namespace lockstep::data
