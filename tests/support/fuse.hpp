// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <atomic>
#include <cstdint>
#include <stdexcept>
#include <string_view>

#include "support/user_layer.hpp"

namespace lockstep_test {

/// Hands on what arrives, until it is told to fail on one thread's replica.
struct fuse : same_extents {
  static inline std::atomic<int> calls_left{1 << 30};

  static constexpr std::string_view kind = "fuse";
  template <class B, lockstep::node_traits T>
  class op {
    using value = typename B::value_type;
    using context = typename B::context;

   public:
    op(context&, std::int64_t samples) : count_(samples * T.in.size()) {}
    void forward(context& c, const lockstep::pass&, const value* x, const value*, value* y) {
      if (calls_left.fetch_sub(1) == 1) throw std::domain_error("blown");
      B::copy(c, count_, x, y);
    }
    void backward(context& c, const lockstep::pass&, const lockstep::backward_arguments<B>& a) {
      if constexpr (T.input_gradient) B::copy(c, count_, static_cast<const value*>(a.dy), a.dx);
    }

   private:
    std::int64_t count_;
  };
};

}  // namespace lockstep_test
