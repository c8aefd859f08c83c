// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <algorithm>
#include <array>
#include <cstdint>
#include <limits>

#include <lockstep/optim/check_option.hpp>

namespace lockstep::schedule {

/// Multiplies the learning rate by `factor` when what `observe` is shown has not become better for more than
/// `patience` times, as torch.optim.lr_scheduler.ReduceLROnPlateau. Checkpoints keep its state; over ranks, show every
/// rank the same.
struct reduce_on_plateau {
  double factor = 0.1;
  int patience = 10;
  double threshold = 1e-4;  ///< what is better by less is not better
  bool absolute = false;    ///< the threshold is a difference, instead of a part of the best value
  bool greater = false;     ///< greater is better, as for an accuracy
  int cooldown = 0;         ///< calls of observe after a reduction that count no bad value
  double min_factor = 0;    ///< of the optimizer's learning rate
  double eps = 1e-8;        ///< a reduction by no more than this part of the optimizer's learning rate is left out

  /// Throws value_error for options out of their domain.
  void check_options() const {
    const char* const where = "schedule::reduce_on_plateau";
    detail::check_option(factor >= 0 && factor < 1, where, "a factor from zero to below one", factor);
    if (patience < 0) detail::check_count(where, "a patience of zero or more", patience);
    if (cooldown < 0) detail::check_count(where, "a cooldown of zero or more", cooldown);
    detail::check_option(min_factor >= 0 && min_factor <= 1, where, "a min_factor from zero to one", min_factor);
  }

  /// Takes the next loss, or whatever else is watched; a NaN is never better.
  void observe(double value) noexcept {
    if (is_better(value)) {
      best = value;
      bad = 0;
    } else {
      ++bad;
    }
    if (cooling > 0) {
      --cooling;
      bad = 0;
    }
    if (bad <= patience) return;
    const double reduced = (std::max)(now * factor, min_factor);
    if (now - reduced > eps) now = reduced;
    cooling = cooldown;
    bad = 0;
  }

  [[nodiscard]] double operator()(std::int64_t) const noexcept { return now; }

  /// What it has seen, as checkpoints keep it.
  [[nodiscard]] std::array<double, 4> state() const noexcept {
    return {now, best, static_cast<double>(bad), static_cast<double>(cooling)};
  }
  void set_state(const std::array<double, 4>& seen) noexcept {
    now = seen[0];
    best = seen[1];
    bad = static_cast<int>(seen[2]);
    cooling = static_cast<int>(seen[3]);
  }

  double now = 1;                                          ///< the present factor
  double best = std::numeric_limits<double>::quiet_NaN();  ///< NaN before the first value
  int bad = 0;                                             ///< values since the best
  int cooling = 0;                                         ///< values that still count no bad one

 private:
  [[nodiscard]] bool is_better(double value) const noexcept {
    constexpr double infinity = std::numeric_limits<double>::infinity();
    const double old = best == best ? best : greater ? -infinity : infinity;
    if (absolute) return greater ? value > old + threshold : value < old - threshold;
    return greater ? value > old * (1 + threshold) : value < old * (1 - threshold);
  }
};

}  // namespace lockstep::schedule
