// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <lockstep/core/config.hpp>

#include <cstdint>

namespace lockstep::schedule {

/// The optimizer's own learning rate in every step.
struct constant {
  [[nodiscard]] double operator()(std::int64_t) const noexcept { return 1; }
};

}  // namespace lockstep::schedule
