// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// expect: lockstep: adaptive_avg_pool2d: the sample that arrives (Arriving) is not a picture
#include <lockstep/lockstep.hpp>

namespace ls = lockstep;

#ifdef LOCKSTEP_TEST_FIXED
using net = ls::sequential<ls::conv2d<8, 3>, ls::adaptive_avg_pool2d<1>, ls::flatten, ls::linear<10>>;
#else
using net = ls::sequential<ls::conv2d<8, 3>, ls::flatten, ls::adaptive_avg_pool2d<1>, ls::linear<10>>;
#endif

int main() { ls::data_parallel<ls::model<net, ls::input<3, 8, 8>, ls::cross_entropy>, 2> trainer; }
