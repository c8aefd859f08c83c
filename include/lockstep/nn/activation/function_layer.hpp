// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <cstdint>

#include <lockstep/backend/capabilities.hpp>
#include <lockstep/nn/layer.hpp>

namespace lockstep::detail {

/// A layer that applies a function to each element: what Source::of<T>() returns, in the sense of host_map.hpp,
/// computed in T. The constants are members of the function and not template arguments, which nvcc could not spell in a
/// kernel.
template <class Source>
struct function_layer {
  static constexpr bool reads_output = decltype(Source::template of<float>())::derivative_reads_output;

  static constexpr layer_traits traits{.takes_any_order = true,
                                       .rows = row_rule::apart,
                                       .backward_reads_input = !reads_output,
                                       .backward_reads_output = reads_output,
                                       .backward_in_place = true,
                                       .backward_keeps_gradient = true};

  template <class B>
  static constexpr bool runs_on = maps_elements<B>;

  [[nodiscard]] static constexpr dims output(const dims& in) { return in; }
  [[nodiscard]] static constexpr parameter_list parameters(const dims&) { return parameter_list{}; }
  [[nodiscard]] static constexpr std::int64_t flops(const dims& in) { return in.size(); }

  template <class B, node_traits T>
  class op {
    using activation = typename B::activation_type;
    using context = typename B::context;
    static constexpr auto function = Source::template of<typename B::value_type>();

   public:
    op(context&, std::int64_t samples) : count_(samples * T.in.size()) {}
    void set_samples(std::int64_t samples) noexcept { count_ = samples * T.in.size(); }

    void forward(context& c, const pass&, const activation* x, const activation*, activation* y) {
      if constexpr (maps_elements<B>) B::map(c, count_, function, x, y);
    }
    void backward(context& c, const pass&, const backward_arguments<B>& a) {
      if constexpr (T.input_gradient && maps_elements<B>)
        B::map_backward(c, count_, function, a.x, a.y, static_cast<const activation*>(a.dy), a.dx);
    }

   private:
    std::int64_t count_;
  };
};

}  // namespace lockstep::detail
