// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "step.hpp"

namespace lockstep_bench {

void register_mlp() { register_steps<mlp>("mlp", {64, 1024}); }

}  // namespace lockstep_bench
