// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// expect: lockstep: batch_norm: takes epsilon<>, momentum<>, cumulative, no_affine and local_statistics
#include <lockstep/lockstep.hpp>

namespace ls = lockstep;

#ifdef LOCKSTEP_TEST_FIXED
using net = ls::sequential<ls::batch_norm2d<ls::no_affine>, ls::flatten, ls::linear<10>>;
#else
using net = ls::sequential<ls::batch_norm2d<ls::no_bias>, ls::flatten, ls::linear<10>>;
#endif

int main() { ls::data_parallel<ls::model<net, ls::input<3, 4, 4>, ls::cross_entropy>, 2> trainer; }
