// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "step.hpp"

namespace lockstep_bench {

void register_linear() { register_steps<linear>("linear", {100}); }

}  // namespace lockstep_bench
