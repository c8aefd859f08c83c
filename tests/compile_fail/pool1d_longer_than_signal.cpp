// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// expect: lockstep: pooling: the window is larger than the padded picture that arrives (Arriving)
#include <lockstep/lockstep.hpp>

namespace ls = lockstep;

#ifdef LOCKSTEP_TEST_FIXED
using pool = ls::max_pool1d<6>;
#else
using pool = ls::max_pool1d<8>;
#endif
using net = ls::sequential<ls::conv1d<8, 3>, pool, ls::flatten, ls::linear<10>>;

int main() { ls::data_parallel<ls::model<net, ls::input<3, 8>, ls::cross_entropy>, 2> trainer; }
