// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <lockstep/core/config.hpp>

#include <cstdint>

namespace lockstep {

/// What a step does with its gradients once their norm is known. Lies in the backend's memory.
struct update_terms {
  double norm = 0;
  double scale = 1;  ///< factor by which clipping multiplies the gradients; NaN when the norm is
  std::int32_t finite = 1;
};

}  // namespace lockstep
