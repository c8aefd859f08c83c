// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <array>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <type_traits>

#include <lockstep/backend/element_math.hpp>
#include <lockstep/core/config.hpp>
#include <lockstep/optim/check_option.hpp>

namespace lockstep {

namespace detail {

template <class T>
struct nadam_rule {
  T sign;   ///< 1, or -1 to maximise
  T decay;  ///< times p and the sign, added to the gradient
  T keep;   ///< factor of p
  T take1;  ///< 1 - beta1
  T beta2, take2;
  T correction;  ///< 1 over the second moment's bias correction
  T now, next;   ///< factors of the gradient and of its mean
  T eps;

  static constexpr bool takes_vectors = true;

  template <class V>
  LOCKSTEP_ALWAYS_INLINE constexpr void operator()(const V& g, V& p, V& m, V& v) const {
    LOCKSTEP_UNCONTRACTED
    const V d = sign * (g + decay * p);
    m += take1 * (d - m);
    v *= beta2;
    round_first(v);
    v += take2 * d * d;
    V length = correction * v;
    take_root(length);
    V step = now * d;
    round_first(step);
    step += next * m;
    p *= keep;
    round_first(p);
    p -= step / (length + eps);
  }
};

/// The product of mu_1 .. mu_t, where mu_i = beta1 * (1 - 0.96^(i * momentum_decay) / 2), to where it no longer changes
/// 1 - product.
[[nodiscard]] inline double nadam_product(double beta1, double momentum_decay, std::int64_t t) {
  const double ratio = std::pow(0.96, momentum_decay);
  double power = 1;
  double all = 1;
  for (std::int64_t i = 0; i < t && all > 1e-20; ++i) {
    power *= ratio;
    all *= beta1 * (1 - 0.5 * power);
  }
  return all;
}

}  // namespace detail

/// Adam with Nesterov's momentum (Dozat, 2016), as torch.optim.NAdam, with t the number of this step, from 1, and mu_t
/// = betas[0] * (1 - 0.96^(t * momentum_decay) / 2):
///   g += weight_decay * p (or p -= learning_rate * weight_decay * p, if decoupled_weight_decay);
///   m = betas[0] * m + (1 - betas[0]) * g;  v = betas[1] * v + (1 - betas[1]) * g * g;
///   p -= learning_rate * ((1 - mu_t) / (1 - mu_1 * .. * mu_t) * g + mu_(t+1) / (1 - mu_1 * .. * mu_(t+1)) * m)
///        / (sqrt(v / (1 - betas[1]^t)) + eps).
/// The product of the mu is computed anew in each step: at most 46 / (1 - betas[0]) multiplications, for each range of
/// parameters that a replica updates.
struct nadam {
  double learning_rate = 2e-3;
  std::array<double, 2> betas{0.9, 0.999};  ///< of the running means of the gradient and of its square
  double eps = 1e-8;
  double weight_decay = 0;
  double momentum_decay = 4e-3;
  bool decoupled_weight_decay = false;
  bool maximize = false;  ///< goes up the gradient

  static constexpr std::size_t max_states = 2;
  static constexpr const char* kind = "nadam";

  /// Calls f(name, value) for each option.
  template <class F>
  void each_option(const F& f) const {
    f("learning_rate", learning_rate);
    f("betas", betas);
    f("eps", eps);
    f("weight_decay", weight_decay);
    f("momentum_decay", momentum_decay);
    f("decoupled_weight_decay", decoupled_weight_decay);
    f("maximize", maximize);
  }

  /// Throws value_error for options that PyTorch refuses too.
  void check_options() const {
    detail::check_rate_and_decay("nadam", learning_rate, weight_decay);
    detail::check_betas("nadam", betas);
    detail::check_epsilon("nadam", eps);
    detail::check_option(momentum_decay >= 0, "nadam", "a momentum_decay of zero or more", momentum_decay);
  }

  /// State buffers in use: the means of the gradient and of its square.
  [[nodiscard]] std::size_t states() const noexcept { return 2; }

  /// Calls with(number of states, rule), where rule(gradient, parameter&, state&...) updates one element. `step` counts
  /// the earlier steps that changed the element's state.
  template <class T, class With>
  void rule(std::int64_t step, const With& with) const {
    const auto t = static_cast<double>(step + 1);
    const auto mu_at = [&](double at) { return betas[0] * (1 - 0.5 * std::pow(0.96, at * momentum_decay)); };
    const double mu = mu_at(t);
    const double next = mu_at(t + 1);
    const double product = detail::nadam_product(betas[0], momentum_decay, step + 1);
    const double coupled = decoupled_weight_decay ? 0 : weight_decay;
    const double decoupled = decoupled_weight_decay ? weight_decay : 0;
    with(std::integral_constant<std::size_t, 2>{},
         detail::nadam_rule<T>{.sign = static_cast<T>(maximize ? -1 : 1),
                               .decay = static_cast<T>(maximize ? -coupled : coupled),
                               .keep = static_cast<T>(1 - learning_rate * decoupled),
                               .take1 = static_cast<T>(1 - betas[0]),
                               .beta2 = static_cast<T>(betas[1]),
                               .take2 = static_cast<T>(1 - betas[1]),
                               .correction = static_cast<T>(1 / (1 - std::pow(betas[1], t))),
                               .now = static_cast<T>(learning_rate * (1 - mu) / (1 - product)),
                               .next = static_cast<T>(learning_rate * next / (1 - product * next)),
                               .eps = static_cast<T>(eps)});
  }
};

}  // namespace lockstep
