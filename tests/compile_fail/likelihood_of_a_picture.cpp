// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// expect: lockstep: negative_log_likelihood: the output that arrives (Arriving) is not one row of log-probabilities
#include <lockstep/lockstep.hpp>

namespace ls = lockstep;

#ifdef LOCKSTEP_TEST_FIXED
using net = ls::sequential<ls::conv2d<8, 3>, ls::relu, ls::flatten, ls::linear<10>>;
#else
using net = ls::sequential<ls::conv2d<8, 3>, ls::relu>;
#endif

int main() { ls::data_parallel<ls::model<net, ls::input<3, 8, 8>, ls::negative_log_likelihood>, 2> trainer; }
