// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <cstdint>
#include <string_view>

#include <lockstep/nn/convolution_op.hpp>
#include <lockstep/nn/layer.hpp>
#include <lockstep/nn/window.hpp>

namespace lockstep {

/// A two-dimensional convolution of C x H x W samples into Out channels, as torch.nn.Conv2d. Kernel is a number or
/// `extent2{height, width}`; Options are stride<>, padding<>, dilation<>, groups<>, no_bias.
/// Parameters: `weight` (Out, C / groups, height, width), `bias` (Out).
/// Output height: floor((H + 2 padding - dilation (kernel - 1) - 1) / stride) + 1; the width alike.
template <std::int64_t Out, extent2 Kernel, class... Options>
struct conv2d {
  static constexpr std::string_view kind = "conv2d";
  static constexpr layer_traits traits{.needs_picture_order = true,
                                       .fuses_relu = true,
                                       .backward_keeps_gradient = true,
                                       .skips_parameter_gradient = true};
  static constexpr detail::window_options options = detail::window_options::of<Options...>();

  template <dims Arriving>
  static consteval void check() {
    static_assert(Arriving.rank == 3,
                  "lockstep: conv2d: the sample that arrives (Arriving) is not a picture of channels x height x width; "
                  "a convolution comes before flatten");
    static_assert(options.output_padding_value == extent2{0} && options.include_padding,
                  "lockstep: conv2d: takes stride<>, padding<>, dilation<>, groups<> and no_bias");
    static_assert(Out > 0 && detail::positive(Kernel) && detail::positive(options.dilation_value) &&
                      detail::positive(options.stride_or(1)) && detail::not_negative(options.padding_value) &&
                      options.groups_value > 0,
                  "lockstep: conv2d: channels, kernel, stride, dilation and groups are positive, padding not negative");
    static_assert(
        Arriving.rank != 3 || (Arriving.extent[0] % options.groups_value == 0 && Out % options.groups_value == 0),
        "lockstep: conv2d: groups must divide the channels that arrive and the channels that leave");
    static_assert(Arriving.rank != 3 || detail::positive(geometry(Arriving).out()),
                  "lockstep: conv2d: the kernel, dilated, is larger than the padded picture that arrives (Arriving)");
  }

  [[nodiscard]] static constexpr convolution_geometry geometry(const dims& in) {
    return {.in_channels = in[0],
            .in = {in[1], in[2]},
            .out_channels = Out,
            .kernel = Kernel,
            .stride = options.stride_or(1),
            .padding = options.padding_value,
            .dilation = options.dilation_value,
            .groups = options.groups_value,
            .bias = options.bias};
  }

  [[nodiscard]] static constexpr dims output(const dims& in) {
    if (in.rank != 3) return dims{Out, 1, 1};  // check() reports this; avoid further errors
    const extent2 out = geometry(in).out();
    return dims{Out, out.height > 0 ? out.height : 1, out.width > 0 ? out.width : 1};
  }

  [[nodiscard]] static constexpr parameter_list parameters(const dims& in) {
    const std::int64_t channels = in[0] / options.groups_value;
    const std::int64_t fan_in = channels * Kernel.height * Kernel.width;
    parameter_list list;
    list.add("weight", dims{Out, channels, Kernel.height, Kernel.width}, detail::default_bound(fan_in));
    if (options.bias) list.add("bias", dims{Out}, detail::default_bound(fan_in));
    return list;
  }

  [[nodiscard]] static constexpr std::int64_t flops(const dims& in) {
    return 2 * output(in).size() * (in[0] / options.groups_value) * Kernel.height * Kernel.width;
  }

  template <class B, node_traits T>
  using op = detail::convolution_op<B, T, convolution_geometry, geometry(T.in),
                                    dims{Out, T.in[0] / options.groups_value, Kernel.height, Kernel.width}>;
};

}  // namespace lockstep
