// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "scaling.hpp"

namespace lockstep_bench {

/// 7 MB of gradients.
void register_scaled_mlp() { register_scaled_steps<mlp, 1, 2, 4, 8>("mlp", {.strong = 1024, .weak = 256}); }

}  // namespace lockstep_bench
