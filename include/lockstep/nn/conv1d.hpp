// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <cstdint>
#include <string_view>

#include <lockstep/nn/convolution_op.hpp>
#include <lockstep/nn/layer.hpp>
#include <lockstep/nn/window.hpp>

namespace lockstep {

/// A convolution of C x L samples (signals) into Out channels, as torch.nn.Conv1d. Options are stride<>, padding<>,
/// dilation<>, groups<>, no_bias, each of one number. Parameters: `weight` (Out, C / groups, Kernel), `bias` (Out).
/// Output length: floor((L + 2 padding - dilation (Kernel - 1) - 1) / stride) + 1.
/// A signal is a picture of height 1 to it, so that it runs on what runs conv2d.
template <std::int64_t Out, std::int64_t Kernel, class... Options>
struct conv1d {
  static constexpr std::string_view kind = "conv1d";
  static constexpr layer_traits traits{.needs_picture_order = true,
                                       .takes_signals = true,
                                       .fuses_relu = true,
                                       .backward_keeps_gradient = true,
                                       .skips_parameter_gradient = true};
  static constexpr detail::window_options options = detail::window_options::of<Options...>().of_line();

  template <dims Arriving>
  static consteval void check() {
    static_assert(Arriving.rank == 2,
                  "lockstep: conv1d: the sample that arrives (Arriving) is not a signal of channels x length; pictures "
                  "take conv2d");
    static_assert(!options.has_heights,
                  "lockstep: conv1d: a signal has no height: stride<>, padding<> and dilation<> take one number");
    static_assert(options.output_padding_value.width == 0 && options.include_padding,
                  "lockstep: conv1d: takes stride<>, padding<>, dilation<>, groups<> and no_bias");
    static_assert(Out > 0 && Kernel > 0 && detail::positive(options.dilation_value) &&
                      detail::positive(options.stride_or(1)) && detail::not_negative(options.padding_value) &&
                      options.groups_value > 0,
                  "lockstep: conv1d: channels, kernel, stride, dilation and groups are positive, padding not negative");
    static_assert(
        Arriving.rank != 2 || (Arriving.extent[0] % options.groups_value == 0 && Out % options.groups_value == 0),
        "lockstep: conv1d: groups must divide the channels that arrive and the channels that leave");
    static_assert(Arriving.rank != 2 || geometry(Arriving).out().width > 0,
                  "lockstep: conv1d: the kernel, dilated, is longer than the padded signal that arrives (Arriving)");
  }

  [[nodiscard]] static constexpr convolution_geometry geometry(const dims& in) {
    return {.in_channels = in[0],
            .in = {1, in[1]},
            .out_channels = Out,
            .kernel = {1, Kernel},
            .stride = options.stride_or(1),
            .padding = options.padding_value,
            .dilation = options.dilation_value,
            .groups = options.groups_value,
            .bias = options.bias};
  }

  [[nodiscard]] static constexpr dims output(const dims& in) {
    const std::int64_t length = in.rank == 2 ? geometry(in).out().width : 0;
    return dims{Out, length > 0 ? length : 1};  // check() reports what does not fit; avoid further errors
  }

  [[nodiscard]] static constexpr parameter_list parameters(const dims& in) {
    const std::int64_t channels = in[0] / options.groups_value;
    parameter_list list;
    list.add("weight", dims{Out, channels, Kernel}, detail::default_bound(channels * Kernel));
    if (options.bias) list.add("bias", dims{Out}, detail::default_bound(channels * Kernel));
    return list;
  }

  [[nodiscard]] static constexpr std::int64_t flops(const dims& in) {
    return 2 * output(in).size() * (in[0] / options.groups_value) * Kernel;
  }

  template <class B, node_traits T>
  using op = detail::convolution_op<B, T, convolution_geometry, geometry(T.in),
                                    dims{Out, T.in[0] / options.groups_value, 1, Kernel}>;
};

}  // namespace lockstep
