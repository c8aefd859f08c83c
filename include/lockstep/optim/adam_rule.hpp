// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <type_traits>

#include <lockstep/backend/element_math.hpp>
#include <lockstep/core/config.hpp>

/// \file
/// The rule that `adam` and `adamw` share.

namespace lockstep::detail {

/// m += (1 - beta1) * (g - m);  v = beta2 * v + (1 - beta2) * g * g;  p -= rate * m / (root * sqrt(v) + eps), where v
/// is the largest v so far if Largest.
template <class T, bool Largest>
struct adam_rule {
  T sign;   ///< 1, or -1 to maximise
  T decay;  ///< times p and the sign, added to the gradient
  T keep;   ///< factor of p
  T take1;  ///< 1 - beta1
  T beta2, take2;
  T rate;  ///< the learning rate over the first moment's bias correction
  T root;  ///< 1 over the root of the second moment's
  T eps;

  static constexpr bool takes_vectors = true;

  template <class V>
  LOCKSTEP_ALWAYS_INLINE constexpr void operator()(const V& g, V& p, V& m, V& v) const
    requires(!Largest)
  {
    update(g, p, m, v, v);
  }
  template <class V>
  LOCKSTEP_ALWAYS_INLINE constexpr void operator()(const V& g, V& p, V& m, V& v, V& most) const
    requires Largest
  {
    update(g, p, m, v, most);
  }

 private:
  template <class V>
  LOCKSTEP_ALWAYS_INLINE constexpr void update(const V& g, V& p, V& m, V& v, V& most) const {
    LOCKSTEP_UNCONTRACTED
    const V d = sign * (g + decay * p);
    m += take1 * (d - m);
    v *= beta2;
    round_first(v);
    v += take2 * d * d;
    if constexpr (Largest) take_larger(most, v);
    V length = most;
    take_root(length);
    p *= keep;
    round_first(p);
    p -= rate * m / (root * length + eps);
  }
};

/// What `adam` and `adamw` make of their options in a step.
template <class T, class Options, class With>
void with_adam_rule(const Options& o, double coupled_decay, double decoupled_decay, std::int64_t step,
                    const With& with) {
  const auto t = static_cast<double>(step + 1);
  const auto rule = [&]<bool Largest>() {
    return adam_rule<T, Largest>{
        .sign = static_cast<T>(o.maximize ? -1 : 1),
        .decay = static_cast<T>(o.maximize ? -coupled_decay : coupled_decay),
        .keep = static_cast<T>(1 - o.learning_rate * decoupled_decay),
        .take1 = static_cast<T>(1 - o.betas[0]),
        .beta2 = static_cast<T>(o.betas[1]),
        .take2 = static_cast<T>(1 - o.betas[1]),
        .rate = static_cast<T>(o.learning_rate / (1 - std::pow(o.betas[0], t))),
        .root = static_cast<T>(1 / std::sqrt(1 - std::pow(o.betas[1], t))),
        .eps = static_cast<T>(o.eps),
    };
  };
  if (o.amsgrad)
    with(std::integral_constant<std::size_t, 3>{}, rule.template operator()<true>());
  else
    with(std::integral_constant<std::size_t, 2>{}, rule.template operator()<false>());
}

}  // namespace lockstep::detail
