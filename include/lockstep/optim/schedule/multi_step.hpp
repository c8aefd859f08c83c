// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <vector>

#include <lockstep/optim/check_option.hpp>

namespace lockstep::schedule {

/// Multiplies the learning rate by `gamma` at each milestone, as torch.optim.lr_scheduler.MultiStepLR. The milestones
/// are numbers of steps, in any order.
struct multi_step {
  std::vector<std::int64_t> milestones{};
  double gamma = 0.1;

  /// Throws value_error for options out of their domain.
  void check_options() const {
    for (const std::int64_t milestone : milestones)
      if (milestone < 0) detail::check_count("schedule::multi_step", "milestones of zero or more", milestone);
    detail::check_option(gamma >= 0, "schedule::multi_step", "a gamma of zero or more", gamma);
  }

  [[nodiscard]] double operator()(std::int64_t step) const noexcept {
    const auto passed = std::count_if(milestones.begin(), milestones.end(), [&](auto m) { return m <= step; });
    return std::pow(gamma, static_cast<double>(passed));
  }
};

}  // namespace lockstep::schedule
