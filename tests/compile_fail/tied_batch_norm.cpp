// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// expect: lockstep: tied: a layer that normalises the batch has statistics of its own at each place
#include <lockstep/lockstep.hpp>

namespace ls = lockstep;

#ifdef LOCKSTEP_TEST_FIXED
using norm = ls::batch_norm2d<>;
#else
using norm = ls::tied<"norm", ls::batch_norm2d<>>;
#endif

using net = ls::sequential<norm, ls::relu, norm, ls::flatten, ls::linear<10>>;

int main() { ls::data_parallel<ls::model<net, ls::input<3, 4, 4>, ls::cross_entropy>, 2> trainer; }
