// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <cstdint>
#include <string_view>

#include <lockstep/backend/geometry.hpp>
#include <lockstep/nn/layer.hpp>

namespace lockstep {

/// A fully connected layer: y = x W^T + b, W (Out, In), as torch.nn.Linear, for samples of In features and for each of
/// the T rows of (T, In), which become (T, Out). In = 0 takes the features that arrive.
/// Parameters: `weight` (Out, In), `bias` (Out). Cost: 2 In Out flops a row.
template <std::int64_t In, std::int64_t Out, bool Bias>
struct basic_linear {
  static constexpr std::string_view kind = "linear";
  static constexpr layer_traits traits{.takes_any_order = true,
                                       .writes_plain_order = true,
                                       .is_table = true,
                                       .fuses_relu = true,
                                       .masks_input = true,
                                       .backward_overwrites_input = true,
                                       .backward_keeps_gradient = true,
                                       .skips_parameter_gradient = true};

  template <dims Arriving>
  static consteval void check() {
    static_assert(Arriving.rank <= 2,
                  "lockstep: linear: the sample that arrives is not flat; put lockstep::flatten before it");
    static_assert(Arriving.rank > 2 || In == 0 || features(Arriving) == In,
                  "lockstep: linear<In, Out>: In is not the number of features that arrive (Arriving); "
                  "correct In, or write linear<Out> to have it deduced");
    static_assert(Out > 0 && In >= 0, "lockstep: linear: the numbers of features are positive");
  }

  /// The features of a row, of which a sample has one, or T.
  [[nodiscard]] static constexpr std::int64_t features(const dims& in) { return in.rank == 2 ? in[1] : in.size(); }

  [[nodiscard]] static constexpr dims output(const dims& in) { return in.rank == 2 ? dims{in[0], Out} : dims{Out}; }

  [[nodiscard]] static constexpr parameter_list parameters(const dims& in) {
    parameter_list list;
    list.add("weight", dims{Out, features(in)}, detail::default_bound(features(in)));
    if (Bias) list.add("bias", dims{Out}, detail::default_bound(features(in)));
    return list;
  }

  [[nodiscard]] static constexpr std::int64_t flops(const dims& in) { return 2 * in.size() * Out; }

  template <class B, node_traits T>
  class op {
    using activation = typename B::activation_type;
    using context = typename B::context;
    static constexpr std::int64_t in = features(T.in);
    static constexpr std::int64_t rows = T.in.size() / in;
    using product = typename B::template linear<linear_geometry{.in = in,
                                                                .out = Out,
                                                                .bias = Bias,
                                                                .relu = T.relu,
                                                                .input_gradient = T.input_gradient,
                                                                .mask_input = T.mask_input,
                                                                .parameter_gradient = T.parameter_gradient}>;
    static constexpr std::int64_t weights = in * Out;

   public:
    op(context& c, std::int64_t samples) : samples_(samples), product_(c, samples * rows) {}

    void set_samples(std::int64_t samples) noexcept
      requires takes_fewer_samples<product>
    {
      samples_ = samples;
      product_.set_samples(samples * rows);
    }

    void forward(context& c, const pass&, const activation* x, const activation* parameters, activation* y) {
      product_.forward(c, x, parameters, parameters + weights, y);
    }

    void backward(context& c, const pass&, const backward_arguments<B>& a) {
      if constexpr (T.relu && !T.output_gradient_masked) B::relu_backward(c, samples_ * rows * Out, a.y, a.dy, a.dy);
      product_.backward(c, a.x, a.dy, a.parameters, a.dx, a.gradients,
                        T.parameter_gradient ? a.gradients + weights : nullptr, a.accumulate);
    }

    [[nodiscard]] static constexpr std::int64_t physical(int parameter, std::int64_t index) {
      if (parameter != 0) return index;
      return product::weight_offset(index / in, feature(index % in));
    }

   private:
    /// Where feature i of a flattened picture (C, H, W) lies when the picture is channels-last.
    static constexpr std::int64_t feature(std::int64_t i) {
      if constexpr (T.picture.rank == 3) {
        constexpr std::int64_t pixels = T.picture.extent[1] * T.picture.extent[2];
        return i % pixels * T.picture.extent[0] + i / pixels;
      } else {
        return i;
      }
    }

    std::int64_t samples_;
    product product_;
  };
};

namespace detail {

template <bool Bias, std::int64_t... N>
struct linear_of {
  static_assert(sizeof...(N) == 1 || sizeof...(N) == 2, "lockstep: linear: write linear<Out> or linear<In, Out>");
};
template <bool Bias, std::int64_t Out>
struct linear_of<Bias, Out> {
  using type = basic_linear<0, Out, Bias>;
};
template <bool Bias, std::int64_t In, std::int64_t Out>
struct linear_of<Bias, In, Out> {
  using type = basic_linear<In, Out, Bias>;
};

}  // namespace detail

/// `linear<Out>` or `linear<In, Out>`; the second form checks In against the last extent of what arrives.
template <std::int64_t... N>
using linear = typename detail::linear_of<true, N...>::type;

/// The same without a bias.
template <std::int64_t... N>
using linear_without_bias = typename detail::linear_of<false, N...>::type;

}  // namespace lockstep
