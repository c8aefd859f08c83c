// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <algorithm>
#include <cstdint>
#include <string_view>

#include <lockstep/nn/layer.hpp>

namespace lockstep {

/// Zeroes each element with probability P while training and scales the others by 1 / (1 - P), as torch.nn.Dropout;
/// the identity otherwise. The mask depends on (seed, step, layer, global sample index): any number of replicas drops
/// the same elements. It is drawn again in backward, so it needs no memory.
template <float P = 0.5F>
struct dropout {
  static constexpr std::string_view kind = "dropout";
  static constexpr layer_traits traits{.backward_reads_input = false, .backward_in_place = true};

  template <dims Arriving>
  static consteval void check() {
    static_assert(P >= 0.F && P <= 1.F, "lockstep: dropout: the probability lies between 0 and 1");
  }

  [[nodiscard]] static constexpr dims output(const dims& in) { return in; }
  [[nodiscard]] static constexpr parameter_list parameters(const dims&) { return parameter_list{}; }
  [[nodiscard]] static constexpr std::int64_t flops(const dims& in) { return in.size(); }

  template <class B, node_traits T>
  class op {
    using value = typename B::value_type;
    using context = typename B::context;

   public:
    op(context&, std::int64_t samples) : samples_(samples) {}

    void forward(context& c, const pass& p, const value* x, const value*, value* y) {
      if (p.training)
        B::dropout(c, samples_, T.in.size(), P, p.key, x, y);
      else
        std::copy_n(x, samples_ * T.in.size(), y);
    }
    void backward(context& c, const pass& p, const backward_arguments<value>& a) {
      if constexpr (T.input_gradient) B::dropout(c, samples_, T.in.size(), P, p.key, a.dy, a.dx);
    }

   private:
    std::int64_t samples_;
  };
};

}  // namespace lockstep
