// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <lockstep/core/config.hpp>

#include <concepts>
#include <cstdint>
#include <span>

namespace lockstep {

/// A learning rate's course: a callable from the number of a step, from 0, to the factor of the optimizer's learning
/// rate in that step. It may have `check_options()`, which throws value_error. It allocates nothing when called.
template <class S>
concept learning_rate_schedule = requires(const S& schedule, std::int64_t step) {
  { schedule(step) } -> std::convertible_to<double>;
};

/// A schedule that depends on more than the step. `state()` returns a std::array of doubles, all that it depends on
/// besides its options, and `set_state` takes such an array. Checkpoints keep it.
template <class S>
concept stateful_schedule = learning_rate_schedule<S> && requires(S& schedule) {
  std::span<const double>(schedule.state());
  schedule.set_state(schedule.state());
};

namespace detail {

/// Throws value_error for a schedule's options out of their domain.
template <class Schedule>
void check_learning_rates(const Schedule& schedule) {
  if constexpr (requires { schedule.check_options(); }) schedule.check_options();
}

}  // namespace detail

}  // namespace lockstep
