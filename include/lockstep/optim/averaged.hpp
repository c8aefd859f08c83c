// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <cstddef>
#include <cstdint>
#include <type_traits>
#include <utility>

#include <lockstep/backend/rule.hpp>
#include <lockstep/core/config.hpp>
#include <lockstep/optim/check_option.hpp>
#include <lockstep/optim/matrix_rule.hpp>
#include <lockstep/optim/optimizer.hpp>
#include <lockstep/optim/parameter_groups.hpp>

namespace lockstep {

namespace detail {

template <class Rule, class T>
struct averaged_rule {
  Rule rule;
  T take;  ///< 1 - decay; 1 at first

  static constexpr bool takes_vectors = lockstep::takes_vectors<Rule>;

  template <class V, class... State>
  LOCKSTEP_ALWAYS_INLINE constexpr void operator()(const V& g, V& p, V& average, State&... state) const {
    LOCKSTEP_UNCONTRACTED
    rule(g, p, state...);
    average += take * (p - average);
  }
};

}  // namespace detail

/// An optimizer that also keeps an exponential average of the parameters, in the pass that updates them, as
/// torch.optim.swa_utils.AveragedModel with get_ema_multi_avg_fn(decay) and an update after each step:
///   average = decay * average + (1 - decay) * p; after a parameter's first step, average = p.
/// `data_parallel::averages()` returns it. An average of a layer stands still in steps that leave the layer alone. With
/// a schedule: averaged<scheduled<...>>.
template <class Optimizer>
class averaged {
 public:
  averaged() = default;
  explicit averaged(Optimizer rule, double average_decay = 0.999) : optimizer(std::move(rule)), decay(average_decay) {}

  using wrapped_optimizer = Optimizer;
  static constexpr std::size_t max_states = Optimizer::max_states + 1;
  /// The number of the state that is the average.
  static constexpr std::size_t average_state = 0;

  /// Throws value_error for options out of their domain.
  void check_options() const {
    static_assert(lockstep::optimizer<Optimizer>, "lockstep: averaged: the argument is an optimizer");
    optimizer.check_options();
    detail::check_option(decay >= 0 && decay <= 1, "averaged", "a decay from zero to one", decay);
  }

  /// State buffers in use: the average, and the optimizer's.
  [[nodiscard]] std::size_t states() const noexcept { return 1 + optimizer.states(); }

  void begin_step([[maybe_unused]] std::int64_t step) {
    if constexpr (requires { optimizer.begin_step(step); }) optimizer.begin_step(step);
  }

  /// The optimizer's rule, and the average's after it.
  template <class T, class With>
  void rule(std::int64_t step, const With& with) const {
    group_rule<T>(step, 1, 1, with);
  }
  /// The same for a group of parameters.
  template <class T, class With>
  void group_rule(std::int64_t step, double rate, double weight_decay, const With& with) const {
    const T take = step == 0 ? T{1} : static_cast<T>(1 - decay);
    detail::group_rule<T>(
        optimizer, step, rate, weight_decay,
        [&]<std::size_t States>(std::integral_constant<std::size_t, States>, const auto& rule) {
          using rule_type = std::remove_cvref_t<decltype(rule)>;
          with(std::integral_constant<std::size_t, States + 1>{}, detail::averaged_rule<rule_type, T>{rule, take});
        });
  }

  /// The same for a matrix, see optim/matrix_rule.hpp.
  template <class T, class With>
  void matrix_rule(std::int64_t step, double rate, double weight_decay, std::int64_t rows, std::int64_t columns,
                   const With& with) const {
    const T take = step == 0 ? T{1} : static_cast<T>(1 - decay);
    optimizer.template matrix_rule<T>(
        step, rate, weight_decay, rows, columns,
        [&]<class Gather, class Update, std::size_t States>(const detail::matrix_rules<Gather, Update, States>& rules) {
          using update_type = detail::averaged_rule<Update, T>;
          with(detail::matrix_rules<Gather, update_type, States + 1>{rules.gather, rules.gather_state + 1,
                                                                     rules.iteration, update_type{rules.update, take}});
        });
  }

  Optimizer optimizer{};
  double decay = 0.999;
};

}  // namespace lockstep
