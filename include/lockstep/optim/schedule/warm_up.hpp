// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <cstdint>
#include <utility>

#include <lockstep/optim/check_option.hpp>
#include <lockstep/optim/schedule/constant.hpp>
#include <lockstep/optim/schedule/schedule.hpp>

namespace lockstep::schedule {

/// Rises in `steps` equal parts from `start_factor` times the first factor of another schedule to that factor, and
/// follows the other from there: step `steps` is its step 0. As torch.optim.lr_scheduler.SequentialLR of a LinearLR and
/// another.
template <class Then = constant>
struct warm_up {
  warm_up() = default;
  explicit warm_up(std::int64_t rising_steps, Then afterwards = {}, double first_factor = 1.0 / 3)
      : steps(rising_steps), then(std::move(afterwards)), start_factor(first_factor) {}

  /// Throws value_error for options out of their domain.
  void check_options() const {
    if (steps != 0) detail::check_count("schedule::warm_up", "steps of zero or more", steps);
    detail::check_option(start_factor >= 0, "schedule::warm_up", "a start_factor of zero or more", start_factor);
    detail::check_learning_rates(then);
  }

  /// Throws what the other schedule throws.
  [[nodiscard]] double operator()(std::int64_t step) const {
    if (step >= steps) return then(step - steps);
    const double part = static_cast<double>(step) / static_cast<double>(steps);
    return (start_factor + (1 - start_factor) * part) * then(0);
  }

  /// The other schedule's, where it has any.
  [[nodiscard]] auto state() const
    requires stateful_schedule<Then>
  {
    return then.state();
  }
  void set_state(const auto& seen)
    requires stateful_schedule<Then>
  {
    then.set_state(seen);
  }

  std::int64_t steps = 0;
  Then then{};
  double start_factor = 1.0 / 3;
};

}  // namespace lockstep::schedule
