// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// expect: lockstep: conv1d: a signal has no height: stride<>, padding<> and dilation<> take one number
#include <lockstep/lockstep.hpp>

namespace ls = lockstep;

#ifdef LOCKSTEP_TEST_FIXED
using step = ls::stride<2>;
#else
using step = ls::stride<ls::extent2{1, 2}>;
#endif
using net = ls::sequential<ls::conv1d<8, 3, step>, ls::flatten, ls::linear<10>>;

int main() { ls::data_parallel<ls::model<net, ls::input<3, 8>, ls::cross_entropy>, 2> trainer; }
