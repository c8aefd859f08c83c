// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// expect: lockstep: conv2d: takes stride<>, padding<>, dilation<>, groups<> and no_bias
#include <lockstep/lockstep.hpp>

namespace ls = lockstep;

#ifdef LOCKSTEP_TEST_FIXED
using conv = ls::conv_transpose2d<8, 3, ls::stride<2>, ls::output_padding<1>>;
#else
using conv = ls::conv2d<8, 3, ls::stride<2>, ls::output_padding<1>>;
#endif
using net = ls::sequential<conv, ls::flatten, ls::linear<10>>;

int main() { ls::data_parallel<ls::model<net, ls::input<3, 8, 8>, ls::cross_entropy>, 2> trainer; }
