// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <algorithm>
#include <cstdint>

#include <lockstep/backend/geometry.hpp>
#include <lockstep/backend/reference/context.hpp>

namespace lockstep::reference_backend {

/// Fully connected products in three nested loops over numbers of type A, which are summed in T; weights in PyTorch's
/// order.
template <class T, class A, linear_geometry G>
class linear {
 public:
  linear(context&, std::int64_t samples) : samples_(samples) {}
  void set_samples(std::int64_t samples) noexcept { samples_ = samples; }

  [[nodiscard]] static constexpr std::int64_t weight_offset(std::int64_t o, std::int64_t i) { return o * G.in + i; }

  void forward(context&, const A* x, const A* w, const A* b, A* y) const {
    for (std::int64_t s = 0; s < samples_; ++s)
      for (std::int64_t o = 0; o < G.out; ++o) {
        T sum = G.bias ? T{b[o]} : T{0};
        for (std::int64_t i = 0; i < G.in; ++i) sum += T{x[s * G.in + i]} * T{w[o * G.in + i]};
        y[s * G.out + o] = static_cast<A>(G.relu ? (std::max)(sum, T{0}) : sum);
      }
  }

  void backward(context&, const A* x, const A* dy, const A* w, A* dx, T* dw, T* db, bool accumulate) const {
    for (std::int64_t o = 0; o < G.out && G.parameter_gradient; ++o) {
      if constexpr (G.bias) {
        T sum{0};
        for (std::int64_t s = 0; s < samples_; ++s) sum += dy[s * G.out + o];
        db[o] = accumulate ? db[o] + sum : sum;
      }
      for (std::int64_t i = 0; i < G.in; ++i) {
        T sum{0};
        for (std::int64_t s = 0; s < samples_; ++s) sum += T{dy[s * G.out + o]} * T{x[s * G.in + i]};
        T& to = dw[o * G.in + i];
        to = accumulate ? to + sum : sum;
      }
    }
    if constexpr (G.input_gradient)
      for (std::int64_t s = 0; s < samples_; ++s)
        for (std::int64_t i = 0; i < G.in; ++i) {
          T sum{0};
          for (std::int64_t o = 0; o < G.out; ++o) sum += T{dy[s * G.out + o]} * T{w[o * G.in + i]};
          dx[s * G.in + i] = G.mask_input && x[s * G.in + i] <= A{0} ? A{0} : static_cast<A>(sum);
        }
  }

 private:
  std::int64_t samples_;
};

}  // namespace lockstep::reference_backend
