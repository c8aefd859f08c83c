// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <cstdint>
#include <string_view>

#include <lockstep/nn/layer.hpp>

namespace lockstep {

/// max(0, x), as torch.nn.ReLU. After conv2d or linear it becomes part of that layer's primitive.
struct relu {
  static constexpr std::string_view kind = "relu";
  static constexpr layer_traits traits{.takes_any_order = true,
                                       .is_relu = true,
                                       .rows = row_rule::apart,
                                       .backward_reads_input = false,
                                       .backward_reads_output = true,
                                       .backward_in_place = true,
                                       .backward_keeps_gradient = true};

  [[nodiscard]] static constexpr dims output(const dims& in) { return in; }
  [[nodiscard]] static constexpr parameter_list parameters(const dims&) { return parameter_list{}; }
  [[nodiscard]] static constexpr std::int64_t flops(const dims& in) { return in.size(); }

  template <class B, node_traits T>
  class op {
    using activation = typename B::activation_type;
    using context = typename B::context;

   public:
    op(context&, std::int64_t samples) : count_(samples * T.in.size()) {}
    void set_samples(std::int64_t samples) noexcept { count_ = samples * T.in.size(); }

    void forward(context& c, const pass&, const activation* x, const activation*, activation* y) {
      B::relu_forward(c, count_, x, y);
    }
    void backward(context& c, const pass&, const backward_arguments<B>& a) {
      if constexpr (T.input_gradient) B::relu_backward(c, count_, a.y, a.dy, a.dx);
    }

   private:
    std::int64_t count_;
  };
};

}  // namespace lockstep
