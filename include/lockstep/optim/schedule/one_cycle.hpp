// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <numbers>

#include <lockstep/optim/check_option.hpp>

namespace lockstep::schedule {

/// Up to the optimizer's learning rate, which is the highest, and down to nearly nothing at the last step (Smith and
/// Topin, 2018), as torch.optim.lr_scheduler.OneCycleLR without its cycle_momentum.
struct one_cycle {
  std::int64_t steps = 0;         ///< of the whole training; has to be given
  double pct_start = 0.3;         ///< the part of the steps in which it rises
  double div_factor = 25;         ///< the highest rate over the first
  double final_div_factor = 1e4;  ///< the first rate over the last
  bool linear = false;            ///< rises and falls in equal parts, instead of by cosines
  bool three_phase = false;       ///< falls to the first rate in as many steps as it rises, and then to the last
  bool hold = false;              ///< stays at the last rate after the end

  /// Throws value_error for options out of their domain.
  void check_options() const {
    detail::check_count("schedule::one_cycle", "steps of one or more", steps);
    detail::check_option(pct_start >= 0 && pct_start <= 1, "schedule::one_cycle", "a pct_start from zero to one",
                         pct_start);
    detail::check_option(div_factor > 0, "schedule::one_cycle", "a div_factor above zero", div_factor);
    detail::check_option(final_div_factor > 0, "schedule::one_cycle", "a final_div_factor above zero",
                         final_div_factor);
  }

  /// Throws value_error after the end, unless it is to hold.
  [[nodiscard]] double operator()(std::int64_t step) const {
    if (step >= steps && !hold) detail::throw_schedule_ended("schedule::one_cycle", steps - 1, step);
    const auto total = static_cast<double>(steps);
    const auto now = static_cast<double>((std::min)(step, steps - 1));
    const double first = 1 / div_factor;
    const double last = first / final_div_factor;
    const double top = pct_start * total - 1;
    if (now <= top) return between(first, 1, 0, top, now);
    if (!three_phase) return between(1, last, top, total - 1, now);
    const double down = 2 * pct_start * total - 2;
    if (now <= down) return between(1, first, top, down, now);
    return between(first, last, down, total - 1, now);
  }

 private:
  /// The value at `now`, between `from` at `begin` and `to` at `end`.
  [[nodiscard]] double between(double from, double to, double begin, double end, double now) const noexcept {
    const double part = end > begin ? (now - begin) / (end - begin) : 1;
    return linear ? from + (to - from) * part : to + (from - to) / 2 * (std::cos(std::numbers::pi * part) + 1);
  }
};

}  // namespace lockstep::schedule
