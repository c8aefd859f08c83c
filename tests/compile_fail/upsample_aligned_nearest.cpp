// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// expect: lockstep: upsample: align_corners goes with bilinear
#include <lockstep/lockstep.hpp>

namespace ls = lockstep;

#ifdef LOCKSTEP_TEST_FIXED
using up = ls::upsample<2, ls::bilinear, ls::align_corners>;
#else
using up = ls::upsample<2, ls::align_corners>;
#endif
using net = ls::sequential<ls::conv2d<8, 3>, up, ls::flatten, ls::linear<10>>;

int main() { ls::data_parallel<ls::model<net, ls::input<3, 8, 8>, ls::cross_entropy>, 2> trainer; }
