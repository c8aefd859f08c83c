// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <cstddef>
#include <cstdint>
#include <type_traits>

#include <lockstep/backend/element_math.hpp>
#include <lockstep/core/config.hpp>
#include <lockstep/optim/check_option.hpp>

namespace lockstep {

namespace detail {

template <class T, bool Centered, bool Momentum>
struct rmsprop_rule {
  T sign;         ///< 1, or -1 to maximise
  T decay;        ///< times p and the sign, added to the gradient
  T alpha, take;  ///< and 1 - alpha
  T rate;
  T eps;
  T mu;

  static constexpr bool takes_vectors = true;

  template <class V>
  LOCKSTEP_ALWAYS_INLINE constexpr void operator()(const V& g, V& p, V& square) const
    requires(!Centered && !Momentum)
  {
    V none{};
    update(g, p, square, none, none);
  }
  /// The one further state: the mean of the gradient if Centered, else the velocity.
  template <class V>
  LOCKSTEP_ALWAYS_INLINE constexpr void operator()(const V& g, V& p, V& square, V& further) const
    requires(Centered != Momentum)
  {
    update(g, p, square, further, further);
  }
  template <class V>
  LOCKSTEP_ALWAYS_INLINE constexpr void operator()(const V& g, V& p, V& square, V& mean, V& velocity) const
    requires(Centered && Momentum)
  {
    update(g, p, square, mean, velocity);
  }

 private:
  template <class V>
  LOCKSTEP_ALWAYS_INLINE constexpr void update(const V& g, V& p, V& square, [[maybe_unused]] V& mean,
                                               [[maybe_unused]] V& velocity) const {
    LOCKSTEP_UNCONTRACTED
    const V d = sign * (g + decay * p);
    square *= alpha;
    round_first(square);
    square += take * d * d;
    V spread = square;
    if constexpr (Centered) {
      mean += take * (d - mean);
      spread -= mean * mean;
    }
    take_root(spread);
    const V step = d / (spread + eps);
    if constexpr (Momentum) {
      velocity = mu * velocity + step;
      p -= rate * velocity;
    } else {
      p -= rate * step;
    }
  }
};

}  // namespace detail

/// RMSprop, as torch.optim.RMSprop:
///   g += weight_decay * p;  v = alpha * v + (1 - alpha) * g * g;
///   if centered: a = alpha * a + (1 - alpha) * g, and v - a * a takes v's place below;
///   b = momentum * b + g / (sqrt(v) + eps);  p -= learning_rate * b.
struct rmsprop {
  double learning_rate = 0.01;
  double alpha = 0.99;
  double eps = 1e-8;
  double weight_decay = 0;
  double momentum = 0;
  bool centered = false;
  bool maximize = false;  ///< goes up the gradient

  static constexpr std::size_t max_states = 3;
  static constexpr const char* kind = "rmsprop";

  /// Calls f(name, value) for each option.
  template <class F>
  void each_option(const F& f) const {
    f("learning_rate", learning_rate);
    f("alpha", alpha);
    f("eps", eps);
    f("weight_decay", weight_decay);
    f("momentum", momentum);
    f("centered", centered);
    f("maximize", maximize);
  }

  /// Throws value_error for options that PyTorch refuses too, and for an alpha above one.
  void check_options() const {
    detail::check_rate_and_decay("rmsprop", learning_rate, weight_decay);
    detail::check_option(alpha >= 0 && alpha <= 1, "rmsprop", "an alpha from zero to one", alpha);
    detail::check_epsilon("rmsprop", eps);
    detail::check_option(momentum >= 0, "rmsprop", "a momentum of zero or more", momentum);
  }

  /// State buffers in use: the mean of squares; if centered, the mean of the gradient; with momentum, the velocity.
  /// Whether it is centered stays as it is once there is a velocity, which would otherwise be taken for the mean.
  [[nodiscard]] std::size_t states() const noexcept {
    return std::size_t{1} + (centered ? 1U : 0U) + (momentum > 0 ? 1U : 0U);
  }

  /// Calls with(number of states, rule), where rule(gradient, parameter&, state&...) updates one element.
  template <class T, class With>
  void rule(std::int64_t, const With& with) const {
    if (centered)
      pick<T, true>(with);
    else
      pick<T, false>(with);
  }

 private:
  template <class T, bool Centered, class With>
  void pick(const With& with) const {
    if (momentum > 0)
      make<T, Centered, true>(with);
    else
      make<T, Centered, false>(with);
  }
  template <class T, bool Centered, bool Momentum, class With>
  void make(const With& with) const {
    with(std::integral_constant<std::size_t, 1U + (Centered ? 1U : 0U) + (Momentum ? 1U : 0U)>{},
         detail::rmsprop_rule<T, Centered, Momentum>{.sign = static_cast<T>(maximize ? -1 : 1),
                                                     .decay = static_cast<T>(maximize ? -weight_decay : weight_decay),
                                                     .alpha = static_cast<T>(alpha),
                                                     .take = static_cast<T>(1 - alpha),
                                                     .rate = static_cast<T>(learning_rate),
                                                     .eps = static_cast<T>(eps),
                                                     .mu = static_cast<T>(momentum)});
  }
};

}  // namespace lockstep
