// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <cstdint>
#include <string_view>

#include <lockstep/nn/layer.hpp>
#include <lockstep/nn/window.hpp>

namespace lockstep {

namespace detail {

/// The op of every layer that pools windows.
template <class B, node_traits T, pooling_geometry G>
class pooling_op {
  using activation = typename B::activation_type;
  using context = typename B::context;
  using pooling = typename B::template pooling<G>;

 public:
  pooling_op(context& c, std::int64_t samples) : pooling_(c, samples) {}

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

/// What max_pool2d and its kin have in common. Rank is that of a sample: a signal, of rank 2, is a picture of height 1.
template <int Rank, pooling_kind Kind, extent2 Kernel, window_options Options>
struct window_pooling {
  static constexpr bool is_maximum = Kind == pooling_kind::maximum;
  static constexpr std::string_view kind =
      Rank == 3 ? (is_maximum ? "max_pool2d" : "avg_pool2d") : (is_maximum ? "max_pool1d" : "avg_pool1d");
  static constexpr layer_traits traits{.needs_picture_order = true,
                                       .takes_signals = Rank == 2,
                                       .remembers_forward = is_maximum,
                                       .backward_reads_input = false,
                                       .backward_keeps_gradient = true};

  template <dims Arriving>
  static consteval void check() {
    static_assert(
        Rank != 3 || Arriving.rank == 3,
        "lockstep: pooling: the sample that arrives (Arriving) is not a picture of channels x height x width; "
        "pooling comes before flatten");
    static_assert(
        Rank != 2 || Arriving.rank == 2,
        "lockstep: pooling: the sample that arrives (Arriving) is not a signal of channels x length; pictures "
        "take max_pool2d and avg_pool2d");
    static_assert(!Options.has_heights,
                  "lockstep: pooling: a signal has no height: stride<> and padding<> take one number");
    static_assert(positive(Kernel) && positive(Options.stride_or(Kernel)) && not_negative(Options.padding_value),
                  "lockstep: pooling: kernel and stride are positive, padding not negative");
    static_assert(Options.dilation_value == extent2{1} && Options.groups_value == 1 && Options.bias &&
                      Options.output_padding_value == extent2{0},
                  "lockstep: pooling: takes stride<>, padding<> and exclude_padding only");
    static_assert(2 * Options.padding_value.height <= Kernel.height && 2 * Options.padding_value.width <= Kernel.width,
                  "lockstep: pooling: padding is at most half of the kernel");
    static_assert(Arriving.rank != Rank || positive(geometry(Arriving).out()),
                  "lockstep: pooling: the window is larger than the padded picture that arrives (Arriving)");
  }

  [[nodiscard]] static constexpr pooling_geometry geometry(const dims& in) {
    constexpr auto kind_of = !is_maximum && !Options.include_padding ? pooling_kind::average_exclude_padding : Kind;
    const dims picture = picture_of(in);
    return {.kind = kind_of,
            .channels = picture[0],
            .in = {picture[1], picture[2]},
            .kernel = Kernel,
            .stride = Options.stride_or(Kernel),
            .padding = Options.padding_value};
  }

  [[nodiscard]] static constexpr dims output(const dims& in) {
    if (in.rank != Rank) return Rank == 3 ? dims{1, 1, 1} : dims{1, 1};  // check() reports this; avoid further errors
    const extent2 out = geometry(in).out();
    const std::int64_t width = out.width > 0 ? out.width : 1;
    return Rank == 3 ? dims{in[0], out.height > 0 ? out.height : 1, width} : dims{in[0], width};
  }

  [[nodiscard]] static constexpr parameter_list parameters(const dims&) { return parameter_list{}; }

  [[nodiscard]] static constexpr std::int64_t flops(const dims& in) {
    return output(in).size() * Kernel.height * Kernel.width;
  }

  template <class B, node_traits T>
  using op = pooling_op<B, T, geometry(T.in)>;
};

template <pooling_kind Kind, extent2 Kernel, class... Options>
using pool2d = window_pooling<3, Kind, Kernel, window_options::of<Options...>()>;

}  // namespace detail

/// The largest element of each window, as torch.nn.MaxPool2d. The stride is the kernel unless stride<> is given;
/// padding<> pads with minus infinity. Options: stride<>, padding<>.
template <extent2 Kernel, class... Options>
struct max_pool2d : detail::pool2d<pooling_kind::maximum, Kernel, Options...> {};

/// The mean of each window, as torch.nn.AvgPool2d. Options: stride<>, padding<> (zeros that count), exclude_padding.
template <extent2 Kernel, class... Options>
struct avg_pool2d : detail::pool2d<pooling_kind::average_include_padding, Kernel, Options...> {};

}  // namespace lockstep
