// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <cstdint>
#include <string>
#include <type_traits>

#include <lockstep/core/config.hpp>
#include <lockstep/core/error.hpp>

namespace lockstep {

namespace detail {

template <class T>
struct sgd_rule {
  T lr, decay;

  LOCKSTEP_HOST_DEVICE constexpr void operator()(T g, T& p) const {
    LOCKSTEP_UNCONTRACTED
    p -= lr * (g + decay * p);
  }
};

template <class T, bool Nesterov>
struct sgd_momentum_rule {
  T lr, decay, mu;
  T keep, take;  ///< factors of the old velocity and of the gradient in the new velocity

  LOCKSTEP_HOST_DEVICE constexpr void operator()(T g, T& p, T& v) const {
    LOCKSTEP_UNCONTRACTED
    const T d = g + decay * p;
    v = keep * v + take * d;
    if constexpr (Nesterov)
      p -= lr * (d + mu * v);
    else
      p -= lr * v;
  }
};

}  // namespace detail

/// Stochastic gradient descent, as torch.optim.SGD:
///   g += weight_decay * p;  v = momentum * v + (1 - dampening) * g (v = g in v's first step);
///   p -= learning_rate * (nesterov ? g + momentum * v : momentum != 0 ? v : g).
struct sgd {
  float learning_rate = 0.01F;
  float momentum = 0;
  float dampening = 0;
  float weight_decay = 0;
  bool nesterov = false;

  static constexpr std::size_t max_states = 1;

  /// Throws value_error for options that PyTorch refuses too.
  void check_options() const {
    if (!(learning_rate >= 0.F))
      throw value_error("sgd", "a learning rate of zero or more", std::to_string(learning_rate));
    if (!(momentum >= 0.F)) throw value_error("sgd", "a momentum of zero or more", std::to_string(momentum));
    if (!(weight_decay >= 0.F))
      throw value_error("sgd", "a weight decay of zero or more", std::to_string(weight_decay));
    if (nesterov && (momentum == 0.F || dampening != 0.F))
      throw value_error("sgd", "nesterov with a momentum above zero and no dampening",
                        "momentum " + std::to_string(momentum) + ", dampening " + std::to_string(dampening));
  }

  /// State buffers in use: momentum needs one.
  [[nodiscard]] std::size_t states() const noexcept { return momentum != 0.F ? 1 : 0; }

  /// Calls with(number of states, rule), where rule(gradient, parameter&, state&...) updates one element. `step` counts
  /// the earlier steps that changed the element's state.
  template <class T, class With>
  void rule(std::int64_t step, const With& with) const {
    const T lr = learning_rate;
    const T decay = weight_decay;
    if (momentum == 0.F) return with(std::integral_constant<std::size_t, 0>{}, detail::sgd_rule<T>{lr, decay});
    const T mu = momentum;
    // The first step's velocity is the gradient itself, undamped.
    const T keep = step == 0 ? T{0} : mu;
    const T take = step == 0 ? T{1} : T{1} - static_cast<T>(dampening);
    constexpr std::integral_constant<std::size_t, 1> one_state{};
    if (nesterov)
      with(one_state, detail::sgd_momentum_rule<T, true>{lr, decay, mu, keep, take});
    else
      with(one_state, detail::sgd_momentum_rule<T, false>{lr, decay, mu, keep, take});
  }
};

}  // namespace lockstep
