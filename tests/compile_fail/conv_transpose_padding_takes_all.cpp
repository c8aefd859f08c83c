// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// expect: lockstep: conv_transpose2d: the padding takes away all that comes out of the picture
#include <lockstep/lockstep.hpp>

namespace ls = lockstep;

#ifdef LOCKSTEP_TEST_FIXED
using up = ls::conv_transpose2d<6, 3, ls::padding<1>>;
#else
using up = ls::conv_transpose2d<6, 3, ls::padding<2>>;
#endif
using net = ls::sequential<ls::conv2d<8, 3>, up, ls::flatten, ls::linear<10>>;

int main() { ls::data_parallel<ls::model<net, ls::input<3, 4, 4>, ls::cross_entropy>, 2> trainer; }
