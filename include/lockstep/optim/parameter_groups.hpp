// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>
#include <type_traits>

#include <lockstep/core/fixed_string.hpp>
#include <lockstep/core/shape.hpp>

namespace lockstep {

/// Parameters whose name fits a pattern, in which a `*` stands for any characters: `like<"*.bias">`.
template <fixed_string Pattern>
struct like {
  [[nodiscard]] static constexpr bool takes(std::string_view name, const dims&) { return fits(Pattern.view(), name); }

 private:
  static constexpr bool fits(std::string_view pattern, std::string_view name) {
    while (!pattern.empty() && pattern.front() != '*') {
      if (name.empty() || name.front() != pattern.front()) return false;
      pattern.remove_prefix(1);
      name.remove_prefix(1);
    }
    if (pattern.empty()) return name.empty();
    for (;; name.remove_prefix(1)) {
      if (fits(pattern.substr(1), name)) return true;
      if (name.empty()) return false;
    }
  }
};

/// Parameters of one extent at most: biases, and the scales and shifts of normalisations.
struct vectors {
  [[nodiscard]] static constexpr bool takes(std::string_view, const dims& shape) { return shape.rank <= 1; }
};

/// Multiplies the optimizer's weight decay.
template <std::int64_t Numerator, std::int64_t Denominator = 1>
struct weight_decay_times {
  static_assert(Numerator >= 0 && Denominator > 0, "lockstep: weight_decay_times: takes a factor of zero or more");
  static constexpr double rate = 1;
  static constexpr double decay = static_cast<double>(Numerator) / static_cast<double>(Denominator);
};

/// Multiplies the optimizer's learning rate.
template <std::int64_t Numerator, std::int64_t Denominator = 1>
struct learning_rate_times {
  static_assert(Numerator >= 0 && Denominator > 0, "lockstep: learning_rate_times: takes a factor of zero or more");
  static constexpr double rate = static_cast<double>(Numerator) / static_cast<double>(Denominator);
  static constexpr double decay = 1;
};

/// Parameters, and what is different for them. Which::takes(name, shape) says whether it means a parameter, by
/// PyTorch's name and shape: `like`, `vectors`, or a type of the caller's.
template <class Which, class... Changes>
struct parameter_group {
  using which = Which;
  static constexpr double rate = (1.0 * ... * Changes::rate);
  static constexpr double decay = (1.0 * ... * Changes::decay);
};

/// A policy of data_parallel: groups of parameters for which options of the optimizer differ, as param_groups of
/// torch.optim. The compiler sorts the parameters into them. A parameter in several groups gets all their changes.
template <class... Groups>
struct parameter_groups {};

/// The usual one for adamw.
using no_decay_on_vectors = parameter_group<vectors, weight_decay_times<0>>;

namespace detail {

template <class P>
struct is_groups_policy : std::false_type {};
template <class... Groups>
struct is_groups_policy<parameter_groups<Groups...>> : std::true_type {};

/// The options that groups change: the optimizer itself, or the one that a `scheduled` holds.
template <class Optimizer>
[[nodiscard]] constexpr auto& group_options(Optimizer& o) {
  if constexpr (requires { o.optimizer; })
    return group_options(o.optimizer);
  else
    return o;
}

/// Multiplies an optimizer's learning rate and weight decay, as far as it has them.
template <class Optimizer>
void scale_options(Optimizer& o, double rate, double decay) {
  if constexpr (requires { o.scale(rate, decay); }) {
    o.scale(rate, decay);
  } else {
    if constexpr (requires { o.learning_rate *= rate; }) o.learning_rate *= rate;
    if constexpr (requires { o.weight_decay *= decay; }) o.weight_decay *= decay;
  }
}

/// The optimizer's rule for a group whose options are these factors times its own.
template <class T, class Optimizer, class With>
void group_rule(const Optimizer& optimizer, std::int64_t step, double rate, double decay, const With& with) {
  if (rate == 1 && decay == 1) return optimizer.template rule<T>(step, with);
  if constexpr (requires { optimizer.template group_rule<T>(step, rate, decay, with); }) {
    optimizer.template group_rule<T>(step, rate, decay, with);
  } else {
    Optimizer own = optimizer;
    scale_options(own, rate, decay);
    own.template rule<T>(step, with);
  }
}

}  // namespace detail

}  // namespace lockstep
