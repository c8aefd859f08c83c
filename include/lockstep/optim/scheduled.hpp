// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <utility>

#include <lockstep/optim/check_option.hpp>
#include <lockstep/optim/optimizer.hpp>
#include <lockstep/optim/parameter_groups.hpp>
#include <lockstep/optim/schedule/schedule.hpp>

namespace lockstep {

/// An optimizer whose learning rate follows a schedule: in step t of a trainer, that of `optimizer` times schedule(t).
/// The step is that of `data_parallel::steps()`, so that a run that goes on from a checkpoint goes on here too.
///
///   ls::data_parallel<model, 2, ls::scheduled<ls::adamw, ls::schedule::cosine>> trainer{
///       {ls::adamw{.learning_rate = 1e-3}, ls::schedule::cosine{.steps = 1000}}};
template <class Optimizer, class Schedule>
class scheduled {
 public:
  scheduled() = default;
  scheduled(Optimizer rule, Schedule course) : optimizer(std::move(rule)), schedule(std::move(course)) {}

  using wrapped_optimizer = Optimizer;
  static constexpr std::size_t max_states = Optimizer::max_states;

  /// Throws value_error for options of either out of their domain.
  void check_options() const {
    // Here and not in the class: a compiler takes a class with a failed check for no optimizer, and complains of that.
    static_assert(lockstep::optimizer<Optimizer>, "lockstep: scheduled: the first argument is an optimizer");
    static_assert(learning_rate_schedule<Schedule>,
                  "lockstep: scheduled: the second argument is a schedule: a callable from the number of a step to a "
                  "factor of the learning rate");
    static_assert(
        requires(Optimizer& o) { o.learning_rate *= 0.5; },
        "lockstep: scheduled: the optimizer has no learning_rate for a schedule to change");
    optimizer.check_options();
    detail::check_learning_rates(schedule);
  }

  [[nodiscard]] std::size_t states() const noexcept { return optimizer.states(); }

  /// A trainer calls this before each step. Throws value_error when the schedule has ended, or gives no factor.
  void begin_step(std::int64_t step) {
    if constexpr (learning_rate_schedule<Schedule>) {
      const auto factor = static_cast<double>(schedule(step));
      detail::check_option(factor >= 0 && std::isfinite(factor), "scheduled",
                           "a schedule whose factors are finite and zero or more", factor);
      factor_ = factor;
    }
  }

  /// The learning rate of the step that was begun last; before the first, the optimizer's own.
  [[nodiscard]] double learning_rate() const { return optimizer.learning_rate * factor_; }

  /// The optimizer's rule at the present learning rate.
  template <class T, class With>
  void rule(std::int64_t step, const With& with) const {
    present().template rule<T>(step, with);
  }

  /// The same for a group of parameters.
  template <class T, class With>
  void group_rule(std::int64_t step, double rate, double decay, const With& with) const {
    detail::group_rule<T>(present(), step, rate, decay, with);
  }
  /// The same for a matrix, see optim/matrix_rule.hpp.
  template <class T, class With>
  void matrix_rule(std::int64_t step, double rate, double decay, std::int64_t rows, std::int64_t columns,
                   const With& with) const {
    present().template matrix_rule<T>(step, rate, decay, rows, columns, with);
  }

  Optimizer optimizer{};
  Schedule schedule{};

 private:
  [[nodiscard]] Optimizer present() const {
    Optimizer now = optimizer;
    detail::scale_options(now, factor_, 1);
    return now;
  }

  double factor_ = 1;
};

}  // namespace lockstep
