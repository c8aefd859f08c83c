// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <algorithm>
#include <cstdint>

#include <lockstep/optim/check_option.hpp>

namespace lockstep::schedule {

/// From `start_factor` at step 0 in equal parts to `end_factor` at step `steps`, where it stays, as
/// torch.optim.lr_scheduler.LinearLR.
struct linear {
  std::int64_t steps = 0;  ///< has to be given
  double start_factor = 1.0 / 3;
  double end_factor = 1;

  /// Throws value_error for options out of their domain.
  void check_options() const {
    detail::check_count("schedule::linear", "steps of one or more", steps);
    detail::check_option(start_factor >= 0, "schedule::linear", "a start_factor of zero or more", start_factor);
    detail::check_option(end_factor >= 0, "schedule::linear", "an end_factor of zero or more", end_factor);
  }

  [[nodiscard]] double operator()(std::int64_t step) const noexcept {
    const double part = static_cast<double>((std::min)(step, steps)) / static_cast<double>(steps);
    return start_factor + (end_factor - start_factor) * part;
  }
};

}  // namespace lockstep::schedule
