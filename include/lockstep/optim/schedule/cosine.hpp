// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <numbers>

#include <lockstep/optim/check_option.hpp>

namespace lockstep::schedule {

/// Half a cosine from 1 at step 0 to `min_factor` at step `steps`, as torch.optim.lr_scheduler.CosineAnnealingLR, whose
/// eta_min is a learning rate and no factor.
struct cosine {
  std::int64_t steps = 0;  ///< has to be given
  double min_factor = 0;
  bool hold = false;  ///< stays at min_factor after the end

  /// Throws value_error for options out of their domain.
  void check_options() const {
    detail::check_count("schedule::cosine", "steps of one or more", steps);
    detail::check_option(min_factor >= 0, "schedule::cosine", "a min_factor of zero or more", min_factor);
  }

  /// Throws value_error after the end, unless it is to hold.
  [[nodiscard]] double operator()(std::int64_t step) const {
    if (step > steps && !hold) detail::throw_schedule_ended("schedule::cosine", steps, step);
    const double part = static_cast<double>((std::min)(step, steps)) / static_cast<double>(steps);
    return min_factor + (1 - min_factor) * (1 + std::cos(std::numbers::pi * part)) / 2;
  }
};

}  // namespace lockstep::schedule
