// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <lockstep/core/config.hpp>

namespace lockstep {

/// Hands its input on, as torch.nn.Identity: a branch of `sum` or `concat` that does nothing. Costs nothing.
struct identity {};

}  // namespace lockstep
