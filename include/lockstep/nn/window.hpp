// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <cstdint>

#include <lockstep/backend/geometry.hpp>

namespace lockstep {

/// Options of sliding windows, each a type: `conv2d<64, 3, ls::stride<2>, ls::padding<1>>`.
template <extent2 E>
struct stride {
  static constexpr extent2 value = E;
};
template <extent2 E>
struct padding {
  static constexpr extent2 value = E;
};
template <extent2 E>
struct dilation {
  static constexpr extent2 value = E;
};
/// Cuts the channels into N groups that do not see each other.
template <std::int64_t N>
struct groups {
  static constexpr std::int64_t value = N;
};
/// Rows and columns that a transposed convolution writes at the bottom and the right beyond the smallest output; less
/// than the stride.
template <extent2 E>
struct output_padding {
  static constexpr extent2 value = E;
};
struct no_bias {};
/// Makes average pooling divide by the elements inside the picture only (PyTorch's count_include_pad=False).
struct exclude_padding {};

namespace detail {

/// Collects options, in any order, into one value. An unknown option does not compile.
struct window_options {
  extent2 stride_value{0};
  extent2 padding_value{0};
  extent2 dilation_value{1};
  extent2 output_padding_value{0};
  std::int64_t groups_value = 1;
  bool bias = true;
  bool include_padding = true;
  bool has_heights = false;  ///< after of_line: an option had another height than width

  template <extent2 E>
  consteval void add(stride<E>) {
    stride_value = E;
  }
  template <extent2 E>
  consteval void add(padding<E>) {
    padding_value = E;
  }
  template <extent2 E>
  consteval void add(dilation<E>) {
    dilation_value = E;
  }
  template <extent2 E>
  consteval void add(output_padding<E>) {
    output_padding_value = E;
  }
  template <std::int64_t N>
  consteval void add(groups<N>) {
    groups_value = N;
  }
  consteval void add(no_bias) { bias = false; }
  consteval void add(exclude_padding) { include_padding = false; }

  template <class... Options>
  [[nodiscard]] static consteval window_options of() {
    window_options all;
    (all.add(Options{}), ...);
    return all;
  }

  /// The stride, or `otherwise` when none was given.
  [[nodiscard]] constexpr extent2 stride_or(extent2 otherwise) const {
    return stride_value == extent2{0} ? otherwise : stride_value;
  }

  /// The same for a window of height 1 that slides over pictures of height 1.
  [[nodiscard]] consteval window_options of_line() const {
    const auto differs = [](extent2 e) { return e.height != e.width; };
    window_options line = *this;
    line.has_heights = differs(stride_value) || differs(padding_value) || differs(dilation_value);
    if (stride_value != extent2{0}) line.stride_value.height = 1;
    line.padding_value.height = 0;
    line.dilation_value.height = 1;
    return line;
  }
};

constexpr bool positive(extent2 e) { return e.height > 0 && e.width > 0; }
constexpr bool not_negative(extent2 e) { return e.height >= 0 && e.width >= 0; }

}  // namespace detail

}  // namespace lockstep
