// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// expect: lockstep: conv2d: the sample that arrives (Arriving) is not a picture of channels x height x width
#include <lockstep/lockstep.hpp>

namespace ls = lockstep;

#ifdef LOCKSTEP_TEST_FIXED
using arriving = ls::input<3, 8, 8>;
#else
using arriving = ls::input<3, 64>;
#endif
using net = ls::sequential<ls::conv2d<8, 3>, ls::flatten, ls::linear<10>>;

int main() { ls::data_parallel<ls::model<net, arriving, ls::cross_entropy>, 2> trainer; }
