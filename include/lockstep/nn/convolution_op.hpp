// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <cstdint>
#include <type_traits>

#include <lockstep/backend/capabilities.hpp>
#include <lockstep/backend/geometry.hpp>
#include <lockstep/nn/layer.hpp>

namespace lockstep::detail {

/// The op of every layer that convolves, by the primitive of its geometry's kind. G's flags follow from T; Weight has
/// the four extents of the weight, with its height even where a sample has none.
template <class B, node_traits T, class Geometry, Geometry G, dims Weight>
class convolution_op {
  using activation = typename B::activation_type;
  using context = typename B::context;

  static constexpr Geometry g = [] {
    Geometry all = G;
    all.relu = T.relu;
    all.input_gradient = T.input_gradient;
    all.parameter_gradient = T.parameter_gradient;
    return all;
  }();

  static constexpr auto pick() {
    if constexpr (std::is_same_v<Geometry, convolution_geometry>)
      return std::type_identity<typename B::template convolution<g>>{};
    else if constexpr (transposes_convolutions<B>)
      return std::type_identity<typename B::template transposed_convolution<g>>{};
    else
      return std::type_identity<missing_primitive>{};
  }
  using convolution = typename decltype(pick())::type;

 public:
  convolution_op(context& c, std::int64_t samples) : samples_(samples), convolution_(c, samples) {}

  void set_samples(std::int64_t samples) noexcept
    requires takes_fewer_samples<convolution>
  {
    samples_ = samples;
    convolution_.set_samples(samples);
  }

  void forward(context& c, const pass&, const activation* x, const activation* parameters, activation* y) {
    convolution_.forward(c, x, parameters, parameters + g.weight_size(), y);
  }

  void backward(context& c, const pass&, const backward_arguments<B>& a) {
    if constexpr (T.relu && !T.output_gradient_masked) B::relu_backward(c, samples_ * T.out.size(), a.y, a.dy, a.dy);
    convolution_.backward(c, a.x, a.dy, a.parameters, a.dx, a.gradients,
                          T.parameter_gradient ? a.gradients + g.weight_size() : nullptr, a.accumulate);
  }

  [[nodiscard]] static constexpr std::int64_t kept_bytes(std::int64_t samples)
    requires keeps_memory<convolution>
  {
    return convolution::kept_bytes(samples);
  }

  [[nodiscard]] static constexpr std::int64_t physical(int parameter, std::int64_t index) {
    if (parameter != 0) return index;
    const std::int64_t w = index % Weight[3];
    const std::int64_t h = index / Weight[3] % Weight[2];
    const std::int64_t pair = index / (Weight[2] * Weight[3]);
    return convolution::weight_offset(pair / Weight[1], pair % Weight[1], h, w);
  }

 private:
  std::int64_t samples_;
  convolution convolution_;
};

}  // namespace lockstep::detail
