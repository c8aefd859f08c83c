// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <cstddef>
#include <cstdint>
#include <type_traits>

#include <lockstep/backend/element_math.hpp>
#include <lockstep/core/config.hpp>
#include <lockstep/core/error.hpp>
#include <lockstep/optim/check_option.hpp>

namespace lockstep {

namespace detail {

template <class T>
struct sgd_rule {
  T sign;   ///< 1, or -1 to maximise
  T decay;  ///< times p and the sign, added to the gradient
  T rate;

  static constexpr bool takes_vectors = true;

  template <class V>
  LOCKSTEP_ALWAYS_INLINE constexpr void operator()(const V& g, V& p) const {
    LOCKSTEP_UNCONTRACTED
    const V d = sign * (g + decay * p);
    p -= rate * d;
  }
};

template <class T, bool Nesterov>
struct sgd_momentum_rule {
  T sign, decay, rate;
  T mu;
  T keep, take;  ///< factors of the old velocity and of the gradient in the new velocity

  static constexpr bool takes_vectors = true;

  template <class V>
  LOCKSTEP_ALWAYS_INLINE constexpr void operator()(const V& g, V& p, V& v) const {
    LOCKSTEP_UNCONTRACTED
    const V d = sign * (g + decay * p);
    v *= keep;
    round_first(v);
    v += take * d;
    if constexpr (Nesterov)
      p -= rate * (d + mu * v);
    else
      p -= rate * v;
  }
};

}  // namespace detail

/// Stochastic gradient descent, as torch.optim.SGD:
///   g += weight_decay * p;  v = momentum * v + (1 - dampening) * g (v = g in v's first step);
///   p -= learning_rate * (nesterov ? g + momentum * v : momentum != 0 ? v : g).
struct sgd {
  double learning_rate = 0.01;
  double momentum = 0;
  double dampening = 0;
  double weight_decay = 0;
  bool nesterov = false;
  bool maximize = false;  ///< goes up the gradient

  static constexpr std::size_t max_states = 1;
  static constexpr const char* kind = "sgd";

  /// Calls f(name, value) for each option.
  template <class F>
  void each_option(const F& f) const {
    f("learning_rate", learning_rate);
    f("momentum", momentum);
    f("dampening", dampening);
    f("weight_decay", weight_decay);
    f("nesterov", nesterov);
    f("maximize", maximize);
  }

  /// Throws value_error for options that PyTorch refuses too.
  void check_options() const {
    detail::check_rate_and_decay("sgd", learning_rate, weight_decay);
    detail::check_option(momentum >= 0, "sgd", "a momentum of zero or more", momentum);
    if (nesterov && (momentum == 0 || dampening != 0))
      throw value_error("sgd", "nesterov with a momentum above zero and no dampening",
                        "momentum " + detail::option_text(momentum) + ", dampening " + detail::option_text(dampening));
  }

  /// State buffers in use: momentum needs one.
  [[nodiscard]] std::size_t states() const noexcept { return momentum != 0 ? 1 : 0; }

  /// Calls with(number of states, rule), where rule(gradient, parameter&, state&...) updates one element. `step` counts
  /// the earlier steps that changed the element's state.
  template <class T, class With>
  void rule(std::int64_t step, const With& with) const {
    const T sign = maximize ? -1 : 1;
    const T decay = sign * static_cast<T>(weight_decay);
    const T rate = static_cast<T>(learning_rate);
    if (momentum == 0) return with(std::integral_constant<std::size_t, 0>{}, detail::sgd_rule<T>{sign, decay, rate});
    const T mu = static_cast<T>(momentum);
    // The first step's velocity is the gradient itself, undamped.
    const T keep = step == 0 ? T{0} : mu;
    const T take = step == 0 ? T{1} : static_cast<T>(1 - dampening);
    constexpr std::integral_constant<std::size_t, 1> one_state{};
    if (nesterov)
      with(one_state, detail::sgd_momentum_rule<T, true>{sign, decay, rate, mu, keep, take});
    else
      with(one_state, detail::sgd_momentum_rule<T, false>{sign, decay, rate, mu, keep, take});
  }
};

}  // namespace lockstep
