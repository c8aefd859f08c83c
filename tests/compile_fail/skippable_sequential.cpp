// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// expect: lockstep: skippable: the extents that leave it (Other) are not those that arrive (One)
#include <lockstep/lockstep.hpp>

namespace ls = lockstep;

#ifdef LOCKSTEP_TEST_FIXED
using block = ls::skippable<ls::sequential<ls::linear<7>, ls::linear<4>>>;
#else
using block = ls::skippable<ls::sequential<ls::linear<7>, ls::linear<5>>>;
#endif
using classifier = ls::model<ls::sequential<block, ls::linear<3>>, ls::input<4>, ls::cross_entropy>;

int main() { ls::data_parallel<classifier, 1> trainer; }
