// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <algorithm>
#include <cstdint>
#include <string_view>
#include <vector>

#include <lockstep/nn/layer.hpp>

#include "support/user_layer.hpp"

namespace lockstep_test {

/// A layer that keeps what passes by on a trainer's only replica: values on the way forward, gradients on the way back.
template <int Number>
struct tap : same_extents {
  static constexpr std::string_view kind = "tap";
  static inline std::vector<double> values{};
  static inline std::vector<double> gradients{};

  static void forget() {
    values.clear();
    gradients.clear();
  }

  template <class B, lockstep::node_traits T>
  class op {
    using value = typename B::value_type;
    using context = typename B::context;

   public:
    op(context&, std::int64_t samples) : count_(samples * T.in.size()) {}

    void forward(context&, const lockstep::pass&, const value* x, const value*, value* y) {
      std::copy_n(x, count_, y);
      values.insert(values.end(), x, x + count_);
    }
    void backward(context&, const lockstep::pass&, const lockstep::backward_arguments<B>& a) {
      std::copy_n(a.dy, count_, a.dx);
      gradients.insert(gradients.end(), a.dy, a.dy + count_);
    }

   private:
    std::int64_t count_;
  };
};

}  // namespace lockstep_test
