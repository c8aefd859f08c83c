// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <cstdint>
#include <string_view>

#include <lockstep/backend/capabilities.hpp>
#include <lockstep/backend/channel_layout.hpp>
#include <lockstep/nn/layer.hpp>

namespace lockstep {

namespace detail {

/// What softmax and log_softmax have in common.
template <bool Logarithm>
struct softmax {
  static constexpr std::string_view kind = Logarithm ? "log_softmax" : "softmax";
  static constexpr layer_traits traits{.takes_any_order = true,
                                       .takes_rows = true,
                                       .rows = row_rule::apart,
                                       .backward_reads_input = false,
                                       .backward_reads_output = true,
                                       .backward_in_place = true,
                                       .backward_keeps_gradient = true};

  template <class B>
  static constexpr bool runs_on = computes_softmax<B>;

  template <dims Arriving>
  static consteval void check() {
    static_assert(Arriving.rank <= 3,
                  "lockstep: softmax: the sample that arrives (Arriving) is neither a row, nor rows, nor a picture of "
                  "channels x height x width");
  }

  [[nodiscard]] static constexpr dims output(const dims& in) { return in; }
  [[nodiscard]] static constexpr parameter_list parameters(const dims&) { return parameter_list{}; }
  [[nodiscard]] static constexpr std::int64_t flops(const dims& in) { return 3 * in.size(); }

  /// The elements of a sample as channels that are summed over: those of each pixel of a picture, of each row else.
  [[nodiscard]] static constexpr channel_layout layout(const dims& in, const dims& picture) {
    if (in.rank == 3) return {.channels = in[0], .pixels = in.size() / in[0], .channels_last = picture.rank == 3};
    const std::int64_t columns = in[in.rank - 1];
    return {.channels = columns, .pixels = in.size() / columns, .channels_last = true};
  }

  template <class B, node_traits T>
  class op {
    using activation = typename B::activation_type;
    using context = typename B::context;
    static constexpr channel_layout of = layout(T.in, T.picture);

   public:
    op(context&, std::int64_t samples) : samples_(samples) {}
    void set_samples(std::int64_t samples) noexcept { samples_ = samples; }

    void forward(context& c, const pass&, const activation* x, const activation*, activation* y) {
      if constexpr (computes_softmax<B>) B::softmax_rows(c, samples_, of, Logarithm, x, y);
    }
    void backward(context& c, const pass&, const backward_arguments<B>& a) {
      if constexpr (T.input_gradient && computes_softmax<B>)
        B::softmax_rows_backward(c, samples_, of, Logarithm, a.y, static_cast<const activation*>(a.dy), a.dx);
    }

   private:
    std::int64_t samples_;
  };
};

}  // namespace detail

/// e^x over the sum of e^x, as torch.nn.Softmax: over the last extent of a sample of one or two extents (dim=-1), over
/// the channels at each place of a C x H x W picture (torch.nn.Softmax2d). A loss of cross_entropy has its own.
struct softmax : detail::softmax<false> {};

/// The logarithm of softmax, as torch.nn.LogSoftmax, over the same elements.
struct log_softmax : detail::softmax<true> {};

}  // namespace lockstep
