// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <lockstep/core/config.hpp>

#include <cstdint>

/// \file
/// The geometries of matrix products and sliding windows: template arguments of the primitives that a backend prepares.

namespace lockstep {

/// A height and a width; one number stands for both.
struct extent2 {
  std::int64_t height = 1;
  std::int64_t width = 1;

  constexpr extent2() = default;
  // NOLINTNEXTLINE(google-explicit-constructor): `conv2d<64, 3>` reads better than `conv2d<64, extent2{3, 3}>`.
  constexpr extent2(std::int64_t both) : height(both), width(both) {}
  constexpr extent2(std::int64_t h, std::int64_t w) : height(h), width(w) {}

  friend constexpr bool operator==(const extent2&, const extent2&) = default;
};

/// Length of one output axis of a sliding window, rounded down (PyTorch's Conv2d and MaxPool2d); 0 when the window
/// does not fit.
[[nodiscard]] constexpr std::int64_t window_output(std::int64_t in, std::int64_t kernel, std::int64_t stride,
                                                   std::int64_t padding, std::int64_t dilation) {
  const std::int64_t reach = dilation * (kernel - 1) + 1;
  const std::int64_t room = in + 2 * padding - reach;
  return room < 0 ? 0 : room / stride + 1;
}

/// The matrix product of a fully connected layer: y (n x out) = x (n x in) * w^T + b.
struct linear_geometry {
  std::int64_t in = 1;
  std::int64_t out = 1;
  bool bias = true;
  bool relu = false;               ///< y = max(0, ...)
  bool input_gradient = true;      ///< backward writes dx
  bool mask_input = false;         ///< x is the output of a relu: backward zeroes dx where x <= 0
  bool parameter_gradient = true;  ///< backward writes dw and db; else it does not touch them, and reads x only to mask

  friend constexpr bool operator==(const linear_geometry&, const linear_geometry&) = default;
};

/// A two-dimensional cross-correlation, as torch.nn.Conv2d. Weights are (out, in / groups, height, width).
struct convolution_geometry {
  std::int64_t in_channels = 1;
  extent2 in{1};
  std::int64_t out_channels = 1;
  extent2 kernel{1};
  extent2 stride{1};
  extent2 padding{0};
  extent2 dilation{1};
  std::int64_t groups = 1;
  bool bias = true;
  bool relu = false;
  bool input_gradient = true;
  bool parameter_gradient = true;  ///< backward writes dw and db; else it touches neither, and does not read x

  [[nodiscard]] constexpr extent2 out() const {
    return {window_output(in.height, kernel.height, stride.height, padding.height, dilation.height),
            window_output(in.width, kernel.width, stride.width, padding.width, dilation.width)};
  }
  [[nodiscard]] constexpr std::int64_t in_size() const { return in_channels * in.height * in.width; }
  [[nodiscard]] constexpr std::int64_t out_size() const { return out_channels * out().height * out().width; }
  [[nodiscard]] constexpr std::int64_t weight_size() const {
    return out_channels * (in_channels / groups) * kernel.height * kernel.width;
  }

  friend constexpr bool operator==(const convolution_geometry&, const convolution_geometry&) = default;
};

/// The transpose of a convolution's map from inputs to outputs, as torch.nn.ConvTranspose2d. Weights are (in, out /
/// groups, height, width).
struct transposed_convolution_geometry {
  std::int64_t in_channels = 1;
  extent2 in{1};
  std::int64_t out_channels = 1;
  extent2 kernel{1};
  extent2 stride{1};
  extent2 padding{0};
  extent2 output_padding{0};  ///< rows and columns more than the smallest output that shrinks to the input
  extent2 dilation{1};
  std::int64_t groups = 1;
  bool bias = true;
  bool relu = false;
  bool input_gradient = true;
  bool parameter_gradient = true;  ///< backward writes dw and db; else it touches neither, and does not read x

  [[nodiscard]] constexpr extent2 out() const {
    return {(in.height - 1) * stride.height - 2 * padding.height + dilation.height * (kernel.height - 1) +
                output_padding.height + 1,
            (in.width - 1) * stride.width - 2 * padding.width + dilation.width * (kernel.width - 1) +
                output_padding.width + 1};
  }
  [[nodiscard]] constexpr std::int64_t in_size() const { return in_channels * in.height * in.width; }
  [[nodiscard]] constexpr std::int64_t out_size() const { return out_channels * out().height * out().width; }
  [[nodiscard]] constexpr std::int64_t weight_size() const {
    return in_channels * (out_channels / groups) * kernel.height * kernel.width;
  }
  /// The convolution whose input gradient is this map, without a bias: it has the same weights.
  [[nodiscard]] constexpr convolution_geometry convolution() const {
    return {.in_channels = out_channels,
            .in = out(),
            .out_channels = in_channels,
            .kernel = kernel,
            .stride = stride,
            .padding = padding,
            .dilation = dilation,
            .groups = groups,
            .bias = false,
            .relu = false,
            .input_gradient = true,
            .parameter_gradient = parameter_gradient};
  }

  friend constexpr bool operator==(const transposed_convolution_geometry&,
                                   const transposed_convolution_geometry&) = default;
};

enum class pooling_kind : std::uint8_t {
  maximum,
  average_include_padding,  ///< torch.nn.AvgPool2d(count_include_pad=True), PyTorch's default
  average_exclude_padding,
};

/// A pooling window over each channel.
struct pooling_geometry {
  pooling_kind kind = pooling_kind::maximum;
  std::int64_t channels = 1;
  extent2 in{1};
  extent2 kernel{1};
  extent2 stride{1};
  extent2 padding{0};

  [[nodiscard]] constexpr extent2 out() const {
    return {window_output(in.height, kernel.height, stride.height, padding.height, 1),
            window_output(in.width, kernel.width, stride.width, padding.width, 1)};
  }
  [[nodiscard]] constexpr std::int64_t in_size() const { return channels * in.height * in.width; }
  [[nodiscard]] constexpr std::int64_t out_size() const { return channels * out().height * out().width; }

  friend constexpr bool operator==(const pooling_geometry&, const pooling_geometry&) = default;
};

}  // namespace lockstep
