// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "step.hpp"

namespace lockstep_bench {

void register_deep() { register_steps<deep>("deep", {64, 256}); }

}  // namespace lockstep_bench
