// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <cstdint>
#include <string_view>

#include <lockstep/backend/capabilities.hpp>
#include <lockstep/nn/layer.hpp>

namespace lockstep {

/// A layer or a composite, such as a residual, that `data_parallel::skip` may skip at run time. It then hands its input
/// on, and its parameters take no part in the step: no gradient, no update, no decay. PyTorch's DistributedDataParallel
/// with find_unused_parameters treats unused parameters alike; here they are known before the step, so nothing searches
/// for them, and no bucket that holds only them is sent. The extents that leave must be those that arrive. Where a
/// composite is inside, this type is taken apart (model/lowering.hpp), and its members mean nothing.
template <class Layer>
struct skippable {
  static constexpr std::string_view kind = Layer::kind;
  static constexpr layer_traits traits{.needs_picture_order = Layer::traits.needs_picture_order,
                                       .takes_signals = Layer::traits.takes_signals,
                                       .takes_any_order = Layer::traits.takes_any_order,
                                       .takes_rows = Layer::traits.takes_rows,
                                       .takes_any_picture_order = Layer::traits.takes_any_picture_order,
                                       .writes_plain_order = Layer::traits.writes_plain_order,
                                       .is_skippable = true,
                                       .remembers_forward = Layer::traits.remembers_forward,
                                       .backward_reads_input = Layer::traits.backward_reads_input,
                                       .backward_reads_output = Layer::traits.backward_reads_output,
                                       .backward_keeps_gradient = Layer::traits.backward_keeps_gradient,
                                       .skips_parameter_gradient = Layer::traits.skips_parameter_gradient};

  /// The layer's own.
  template <class B>
  static constexpr bool runs_on = detail::runs_on<Layer, B>;

  template <dims Arriving>
  static consteval void check() {
    static_assert(!Layer::traits.is_flatten, "lockstep: skippable: a change of extents cannot be skipped");
    if constexpr (requires { Layer::template check<Arriving>(); }) Layer::template check<Arriving>();
    static_assert(Layer::output(Arriving) == Arriving,
                  "lockstep: skippable: the extents that leave the layer are not those that arrive (Arriving), so that "
                  "nothing could stand in for it");
  }

  [[nodiscard]] static constexpr dims output(const dims& in) { return Layer::output(in); }
  [[nodiscard]] static constexpr parameter_list parameters(const dims& in) { return Layer::parameters(in); }
  [[nodiscard]] static constexpr std::int64_t flops(const dims& in) { return Layer::flops(in); }

  template <class B, node_traits T>
  class op {
    using activation = typename B::activation_type;
    using context = typename B::context;
    using inner_op = typename Layer::template op<B, T>;

   public:
    op(context& c, std::int64_t samples) : samples_(samples), inner_(c, samples) {}

    void set_samples(std::int64_t samples) noexcept
      requires takes_fewer_samples<inner_op>
    {
      samples_ = samples;
      inner_.set_samples(samples);
    }

    void forward(context& c, const pass& p, const activation* x, const activation* parameters, activation* y) {
      if (!p.skips())
        inner_.forward(c, p, x, parameters, y);
      else if constexpr (reorders)
        B::to_plain(c, samples_, T.picture, x, y);
      else
        B::copy(c, samples_ * T.in.size(), x, y);
    }

    void backward(context& c, const pass& p, const backward_arguments<B>& a) {
      if (!p.skips()) return inner_.backward(c, p, a);
      if constexpr (T.input_gradient && reorders)
        B::to_channels_last(c, samples_, T.picture, a.dy, a.dx);
      else if constexpr (T.input_gradient)
        B::copy(c, samples_ * T.in.size(), static_cast<const activation*>(a.dy), a.dx);
      if constexpr (T.parameter_gradient && parameter_size > 0)
        if (!a.accumulate) B::clear(c, parameter_size, a.gradients);
    }

    [[nodiscard]] static constexpr std::int64_t physical(int parameter, std::int64_t index)
      requires requires { inner_op::physical(parameter, index); }
    {
      return inner_op::physical(parameter, index);
    }

   private:
    static constexpr std::int64_t parameter_size = Layer::parameters(T.in).size();
    /// A layer that mixes the features of a flattened channels-last picture writes plain order; a skip must do so too.
    static constexpr bool reorders = T.picture.rank == 3 && traits.writes_plain_order;

    std::int64_t samples_;
    inner_op inner_;
  };
};

}  // namespace lockstep
