// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// expect: lockstep: conv2d: the kernel, dilated, is larger than the padded picture that arrives (Arriving)
#include <lockstep/lockstep.hpp>

namespace ls = lockstep;

#ifdef LOCKSTEP_TEST_FIXED
constexpr int kernel = 4;
#else
constexpr int kernel = 5;
#endif
using net = ls::sequential<ls::conv2d<8, 3>, ls::max_pool2d<2>, ls::conv2d<16, kernel>, ls::flatten, ls::linear<10>>;

int main() { ls::data_parallel<ls::model<net, ls::input<3, 10, 10>, ls::cross_entropy>, 2> trainer; }
