// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <type_traits>

#include <lockstep/backend/element_math.hpp>
#include <lockstep/core/config.hpp>
#include <lockstep/optim/check_option.hpp>

namespace lockstep {

namespace detail {

template <class T>
struct lion_rule {
  T sign;  ///< 1, or -1 to maximise
  T keep;  ///< factor of p
  T rate;
  T take1, take2;  ///< 1 - beta

  static constexpr bool takes_vectors = true;

  template <class V>
  LOCKSTEP_ALWAYS_INLINE constexpr void operator()(const V& g, V& p, V& m) const {
    LOCKSTEP_UNCONTRACTED
    const V away = sign * g - m;
    V direction = m + take1 * away;
    take_sign(direction);
    p *= keep;
    round_first(p);
    p -= rate * direction;
    m += take2 * away;
  }
};

}  // namespace detail

/// Lion (Chen et al., "Symbolic Discovery of Optimization Algorithms", 2023), algorithm 2 of the paper; PyTorch has
/// none:
///   c = betas[0] * m + (1 - betas[0]) * g;  p -= learning_rate * (sign(c) + weight_decay * p);
///   m = betas[1] * m + (1 - betas[1]) * g.
struct lion {
  double learning_rate = 1e-4;
  std::array<double, 2> betas{0.9, 0.99};
  double weight_decay = 0;
  bool maximize = false;  ///< goes up the gradient

  static constexpr std::size_t max_states = 1;
  static constexpr const char* kind = "lion";

  /// Calls f(name, value) for each option.
  template <class F>
  void each_option(const F& f) const {
    f("learning_rate", learning_rate);
    f("betas", betas);
    f("weight_decay", weight_decay);
    f("maximize", maximize);
  }

  /// Throws value_error for options out of their domain.
  void check_options() const {
    detail::check_rate_and_decay("lion", learning_rate, weight_decay);
    detail::check_betas("lion", betas);
  }

  /// State buffers in use: the running mean of the gradient.
  [[nodiscard]] std::size_t states() const noexcept { return 1; }

  /// Calls with(number of states, rule), where rule(gradient, parameter&, state&) updates one element.
  template <class T, class With>
  void rule(std::int64_t, const With& with) const {
    with(std::integral_constant<std::size_t, 1>{},
         detail::lion_rule<T>{.sign = static_cast<T>(maximize ? -1 : 1),
                              .keep = static_cast<T>(1 - learning_rate * weight_decay),
                              .rate = static_cast<T>(learning_rate),
                              .take1 = static_cast<T>(1 - betas[0]),
                              .take2 = static_cast<T>(1 - betas[1])});
  }
};

}  // namespace lockstep
