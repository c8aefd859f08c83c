// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <concepts>
#include <cstdint>
#include <string_view>

#include <lockstep/backend/geometry.hpp>
#include <lockstep/core/shape.hpp>

namespace lockstep {

/// What a layer may ask of a device: a closed set of primitives.
///
/// Stateless ones are static functions whose first argument is the replica's `context`. Those that a library prepares
/// for a shape (`linear`, `convolution`, `pooling`) are class templates over a geometry, constructed once for a number
/// of samples and then run any number of times. A backend knows no layer; a layer knows no backend.
///
/// A backward whose geometry says `parameter_gradient = false` touches no gradient of a parameter; dw and db may be
/// null.
///
/// Where a backward is told to accumulate, it adds the gradient of all its samples, complete, to what is there: one
/// rounding for each element, so that sums over several calls have a known order.
///
/// - `linear<G>`: y = x w^T + b (relu), and its backward; `weight_offset(o, i)` says where the weight lies.
/// - `convolution<G>`, `pooling<G>`: pictures in `picture_order`; weights in PyTorch's order.
/// - `relu_forward`, `relu_backward`, `dropout`: elementwise, in place allowed.
/// - `to_channels_last`, `to_plain`: change of order at the user's boundary.
/// - `softmax_cross_entropy`, `squared_error`: sum of the losses, and the gradient times a scale.
/// - `add`: y += x. `square_sums`: the sum of squares of each block of a range, in double.
/// - `reduce_and_update`: sums N gradients as `tree_sum` does and applies an optimizer's rule in one pass.
template <class B>
concept backend = requires(typename B::context& c, std::int64_t n, typename B::value_type* y,
                           const typename B::value_type* x, const dims& d, const dropout_key& key,
                           const cross_entropy_arguments& a, const std::int64_t* targets, double* sums) {
  typename B::value_type;
  { B::name } -> std::convertible_to<std::string_view>;
  { B::picture_order } -> std::convertible_to<element_order>;
  { B::cache_bytes } -> std::convertible_to<std::int64_t>;
  { c.enter() };
  typename B::template linear<linear_geometry{}>;
  typename B::template convolution<convolution_geometry{}>;
  typename B::template pooling<pooling_geometry{}>;
  { B::template linear<linear_geometry{}>::weight_offset(n, n) } -> std::same_as<std::int64_t>;
  { B::relu_forward(c, n, x, y) } -> std::same_as<void>;
  { B::relu_backward(c, n, x, x, y) } -> std::same_as<void>;
  { B::dropout(c, n, n, d, 0.5F, key, x, y) } -> std::same_as<void>;
  { B::to_channels_last(c, n, d, x, y) } -> std::same_as<void>;
  { B::to_plain(c, n, d, x, y) } -> std::same_as<void>;
  { B::softmax_cross_entropy(c, n, a, x, targets, y) } -> std::same_as<double>;
  { B::squared_error(c, n, 1.0, x, x, y) } -> std::same_as<double>;
  { B::add(c, n, x, y) } -> std::same_as<void>;
  { B::square_sums(c, n, n, x, sums) } -> std::same_as<void>;
};

}  // namespace lockstep
