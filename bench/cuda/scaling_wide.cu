// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "scaling.hpp"

namespace lockstep_bench {

namespace {

/// 185 MB of gradients.
using wide = ls::model<
    ls::sequential<ls::linear<4096>, ls::relu, ls::linear<4096>, ls::relu, ls::linear<4096>, ls::relu, ls::linear<10>>,
    ls::input<3072>, ls::cross_entropy>;

}  // namespace

void register_scaled_wide() { register_scaled_steps<wide, 1, 2, 4, 8>("wide", {.strong = 4096, .weak = 1024}); }

}  // namespace lockstep_bench
