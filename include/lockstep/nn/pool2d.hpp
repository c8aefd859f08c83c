// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <cstdint>
#include <string_view>

#include <lockstep/nn/layer.hpp>
#include <lockstep/nn/window.hpp>

namespace lockstep {

namespace detail {

template <pooling_kind Kind, extent2 Kernel, class... Options>
struct pool2d {
  static constexpr std::string_view kind = Kind == pooling_kind::maximum ? "max_pool2d" : "avg_pool2d";
  static constexpr layer_traits traits{.needs_picture_order = true,
                                       .remembers_forward = Kind == pooling_kind::maximum,
                                       .backward_reads_input = false,
                                       .backward_keeps_gradient = true};
  static constexpr window_options options = window_options::of<Options...>();

  template <dims Arriving>
  static consteval void check() {
    static_assert(
        Arriving.rank == 3,
        "lockstep: pooling: the sample that arrives (Arriving) is not a picture of channels x height x width; "
        "pooling comes before flatten");
    static_assert(positive(Kernel) && positive(options.stride_or(Kernel)) && not_negative(options.padding_value),
                  "lockstep: pooling: kernel and stride are positive, padding not negative");
    static_assert(options.dilation_value == extent2{1} && options.groups_value == 1 && options.bias &&
                      options.output_padding_value == extent2{0},
                  "lockstep: pooling: takes stride<>, padding<> and exclude_padding only");
    static_assert(2 * options.padding_value.height <= Kernel.height && 2 * options.padding_value.width <= Kernel.width,
                  "lockstep: pooling: padding is at most half of the kernel");
    static_assert(Arriving.rank != 3 || positive(geometry(Arriving).out()),
                  "lockstep: pooling: the window is larger than the padded picture that arrives (Arriving)");
  }

  [[nodiscard]] static constexpr pooling_geometry geometry(const dims& in) {
    constexpr auto kind_of =
        Kind != pooling_kind::maximum && !options.include_padding ? pooling_kind::average_exclude_padding : Kind;
    return {.kind = kind_of,
            .channels = in[0],
            .in = {in[1], in[2]},
            .kernel = Kernel,
            .stride = options.stride_or(Kernel),
            .padding = options.padding_value};
  }

  [[nodiscard]] static constexpr dims output(const dims& in) {
    if (in.rank != 3) return dims{1, 1, 1};
    const extent2 out = geometry(in).out();
    return dims{in[0], out.height > 0 ? out.height : 1, out.width > 0 ? out.width : 1};
  }

  [[nodiscard]] static constexpr parameter_list parameters(const dims&) { return parameter_list{}; }

  [[nodiscard]] static constexpr std::int64_t flops(const dims& in) {
    return output(in).size() * Kernel.height * Kernel.width;
  }

  template <class B, node_traits T>
  class op {
    using activation = typename B::activation_type;
    using context = typename B::context;
    using pooling = typename B::template pooling<geometry(T.in)>;

   public:
    op(context& c, std::int64_t samples) : pooling_(c, samples) {}

    void set_samples(std::int64_t samples) noexcept
      requires takes_fewer_samples<pooling>
    {
      pooling_.set_samples(samples);
    }

    void forward(context& c, const pass&, const activation* x, const activation*, activation* y) {
      pooling_.forward(c, x, y);
    }

    void backward(context& c, const pass&, const backward_arguments<B>& a) {
      if constexpr (T.input_gradient) pooling_.backward(c, a.dy, a.dx);
    }

   private:
    pooling pooling_;
  };
};

}  // namespace detail

/// The largest element of each window, as torch.nn.MaxPool2d. The stride is the kernel unless stride<> is given;
/// padding<> pads with minus infinity. Options: stride<>, padding<>.
template <extent2 Kernel, class... Options>
struct max_pool2d : detail::pool2d<pooling_kind::maximum, Kernel, Options...> {};

/// The mean of each window, as torch.nn.AvgPool2d. Options: stride<>, padding<> (zeros that count), exclude_padding.
template <extent2 Kernel, class... Options>
struct avg_pool2d : detail::pool2d<pooling_kind::average_include_padding, Kernel, Options...> {};

}  // namespace lockstep
