// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <cstdint>
#include <string_view>

#include <lockstep/backend/capabilities.hpp>
#include <lockstep/backend/channel_layout.hpp>
#include <lockstep/core/probability.hpp>
#include <lockstep/nn/layer.hpp>

namespace lockstep {

/// Zeroes each element with probability P while training and scales the others by 1 / (1 - P), as torch.nn.Dropout;
/// the identity otherwise. The mask depends on (seed, step, layer, global sample index), so any number of replicas
/// drops the same elements. Backward draws the mask again, so it needs no memory.
template <probability P = 0.5>
struct dropout {
  static constexpr std::string_view kind = "dropout";
  static constexpr layer_traits traits{.takes_any_order = true,
                                       .rows = row_rule::apart,
                                       .backward_reads_input = false,
                                       .backward_in_place = true,
                                       .backward_keeps_gradient = true};

  template <dims Arriving>
  static consteval void check() {
    static_assert(P.valid(), "lockstep: dropout: the probability lies between 0 and 1");
  }

  [[nodiscard]] static constexpr dims output(const dims& in) { return in; }
  [[nodiscard]] static constexpr parameter_list parameters(const dims&) { return parameter_list{}; }
  [[nodiscard]] static constexpr std::int64_t flops(const dims& in) { return in.size(); }

  template <class B, node_traits T>
  class op {
    using activation = typename B::activation_type;
    using context = typename B::context;

   public:
    op(context&, std::int64_t samples) : samples_(samples) {}
    void set_samples(std::int64_t samples) noexcept { samples_ = samples; }

    void forward(context& c, const pass& p, const activation* x, const activation*, activation* y) {
      if (p.training)
        B::dropout(c, samples_, T.in.size(), T.picture, P.value(), p.key, x, y);
      else
        B::copy(c, samples_ * T.in.size(), x, y);
    }
    void backward(context& c, const pass& p, const backward_arguments<B>& a) {
      if constexpr (T.input_gradient) B::dropout(c, samples_, T.in.size(), T.picture, P.value(), p.key, a.dy, a.dx);
    }

   private:
    std::int64_t samples_;
  };
};

/// Zeroes each channel of a C x H x W picture with probability P while training and scales the others by 1 / (1 - P),
/// as torch.nn.Dropout2d; the identity otherwise. What is dropped depends on (seed, step, layer, global sample index,
/// channel), so any number of replicas drops the same channels.
template <probability P = 0.5>
struct dropout2d {
  static constexpr std::string_view kind = "dropout2d";
  static constexpr layer_traits traits = dropout<P>::traits;

  template <class B>
  static constexpr bool runs_on = drops_channels<B>;

  template <dims Arriving>
  static consteval void check() {
    static_assert(P.valid(), "lockstep: dropout2d: the probability lies between 0 and 1");
    static_assert(Arriving.rank == 3,
                  "lockstep: dropout2d: the sample that arrives (Arriving) is not a picture of channels x height x "
                  "width; use dropout");
  }

  [[nodiscard]] static constexpr dims output(const dims& in) { return in; }
  [[nodiscard]] static constexpr parameter_list parameters(const dims&) { return parameter_list{}; }
  [[nodiscard]] static constexpr std::int64_t flops(const dims& in) { return in.size(); }

  template <class B, node_traits T>
  class op {
    using activation = typename B::activation_type;
    using context = typename B::context;
    static constexpr channel_layout layout{
        .channels = T.in[0], .pixels = T.in.size() / T.in[0], .channels_last = T.picture.rank == 3};

   public:
    op(context&, std::int64_t samples) : samples_(samples) {}
    void set_samples(std::int64_t samples) noexcept { samples_ = samples; }

    void forward(context& c, const pass& p, const activation* x, const activation*, activation* y) {
      if (!p.training)
        B::copy(c, samples_ * T.in.size(), x, y);
      else if constexpr (drops_channels<B>)
        B::dropout_channels(c, samples_, layout, P.value(), p.key, x, y);
    }
    void backward(context& c, const pass& p, const backward_arguments<B>& a) {
      if constexpr (T.input_gradient && drops_channels<B>)
        B::dropout_channels(c, samples_, layout, P.value(), p.key, static_cast<const activation*>(a.dy), a.dx);
    }

   private:
    std::int64_t samples_;
  };
};

}  // namespace lockstep
