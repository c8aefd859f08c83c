// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <cstdint>
#include <string_view>

#include <lockstep/backend/capabilities.hpp>
#include <lockstep/nn/layer.hpp>

namespace lockstep {

/// The mean of the T rows of a sample (T, C): C features, as x.mean(1) of a batch in PyTorch.
struct mean_rows {
  static constexpr std::string_view kind = "mean_rows";
  static constexpr layer_traits traits{.backward_reads_input = false, .backward_keeps_gradient = true};

  template <class B>
  static constexpr bool runs_on = averages_rows<B>;

  template <dims Arriving>
  static consteval void check() {
    static_assert(Arriving.rank == 2,
                  "lockstep: mean_rows: a sample is (T, C), T rows of C values; what arrives (Arriving) is not");
  }

  [[nodiscard]] static constexpr dims output(const dims& in) { return dims{in.rank == 2 ? in[1] : 1}; }
  [[nodiscard]] static constexpr parameter_list parameters(const dims&) { return parameter_list{}; }
  [[nodiscard]] static constexpr std::int64_t flops(const dims& in) { return in.size(); }

  template <class B, node_traits T>
  class op {
    using activation = typename B::activation_type;
    using context = typename B::context;

   public:
    op(context&, std::int64_t samples) : samples_(samples) {}
    void set_samples(std::int64_t samples) noexcept { samples_ = samples; }

    void forward(context& c, const pass&, const activation* x, const activation*, activation* y) {
      if constexpr (runs_on<B>) B::mean_rows(c, samples_, T.in[0], T.in[1], x, y);
    }
    void backward(context& c, const pass&, const backward_arguments<B>& a) {
      if constexpr (runs_on<B> && T.input_gradient)
        B::mean_rows_backward(c, samples_, T.in[0], T.in[1], static_cast<const activation*>(a.dy), a.dx);
    }

   private:
    std::int64_t samples_;
  };
};

}  // namespace lockstep
