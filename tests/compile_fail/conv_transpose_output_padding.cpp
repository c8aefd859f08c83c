// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// expect: lockstep: conv_transpose2d: output_padding is less than the stride
#include <lockstep/lockstep.hpp>

namespace ls = lockstep;

#ifdef LOCKSTEP_TEST_FIXED
using up = ls::conv_transpose2d<4, 3, ls::stride<2>, ls::output_padding<1>>;
#else
using up = ls::conv_transpose2d<4, 3, ls::stride<2>, ls::output_padding<2>>;
#endif
using net = ls::sequential<ls::conv2d<8, 3>, up, ls::flatten, ls::linear<10>>;

int main() { ls::data_parallel<ls::model<net, ls::input<3, 8, 8>, ls::cross_entropy>, 2> trainer; }
