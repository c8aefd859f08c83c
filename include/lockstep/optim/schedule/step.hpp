// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <cmath>
#include <cstdint>

#include <lockstep/optim/check_option.hpp>

namespace lockstep::schedule {

/// Multiplies the learning rate by `gamma` after every `step_size` steps, as torch.optim.lr_scheduler.StepLR.
struct step {
  std::int64_t step_size = 0;  ///< has to be given
  double gamma = 0.1;

  /// Throws value_error for options out of their domain.
  void check_options() const {
    detail::check_count("schedule::step", "a step_size of one or more", step_size);
    detail::check_option(gamma >= 0, "schedule::step", "a gamma of zero or more", gamma);
  }

  [[nodiscard]] double operator()(std::int64_t at) const noexcept {
    return std::pow(gamma, static_cast<double>(at / step_size));
  }
};

}  // namespace lockstep::schedule
