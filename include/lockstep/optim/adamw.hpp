// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>

#include <lockstep/optim/adam_rule.hpp>
#include <lockstep/optim/check_option.hpp>

namespace lockstep {

/// Adam with decoupled weight decay (Loshchilov and Hutter, 2019), as torch.optim.AdamW, with t the number of this
/// step, from 1:
///   p -= learning_rate * weight_decay * p;  m = betas[0] * m + (1 - betas[0]) * g;
///   v = betas[1] * v + (1 - betas[1]) * g * g;
///   p -= learning_rate * m / (1 - betas[0]^t) / (sqrt(v / (1 - betas[1]^t)) + eps).
struct adamw {
  double learning_rate = 1e-3;
  std::array<double, 2> betas{0.9, 0.999};  ///< of the running means of the gradient and of its square
  double eps = 1e-8;
  double weight_decay = 1e-2;
  bool amsgrad = false;   ///< divides by the largest mean of squares so far; keeps one more state
  bool maximize = false;  ///< goes up the gradient

  static constexpr std::size_t max_states = 3;
  static constexpr const char* kind = "adamw";

  /// Calls f(name, value) for each option.
  template <class F>
  void each_option(const F& f) const {
    f("learning_rate", learning_rate);
    f("betas", betas);
    f("eps", eps);
    f("weight_decay", weight_decay);
    f("amsgrad", amsgrad);
    f("maximize", maximize);
  }

  /// Throws value_error for options that PyTorch refuses too.
  void check_options() const {
    detail::check_rate_and_decay("adamw", learning_rate, weight_decay);
    detail::check_betas("adamw", betas);
    detail::check_epsilon("adamw", eps);
  }

  /// State buffers in use: the means of the gradient and of its square; with amsgrad, the largest of the latter.
  [[nodiscard]] std::size_t states() const noexcept { return amsgrad ? 3 : 2; }

  /// Calls with(number of states, rule), where rule(gradient, parameter&, state&...) updates one element. `step` counts
  /// the earlier steps that changed the element's state.
  template <class T, class With>
  void rule(std::int64_t step, const With& with) const {
    detail::with_adam_rule<T>(*this, 0, weight_decay, step, with);
  }
};

}  // namespace lockstep
