// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// expect: lockstep: sequential: at least one layer
#include <lockstep/lockstep.hpp>

namespace ls = lockstep;

#ifdef LOCKSTEP_TEST_FIXED
using block = ls::sequential<ls::relu>;
#else
using block = ls::sequential<>;
#endif
using classifier = ls::model<ls::sequential<block, ls::linear<3>>, ls::input<4>, ls::cross_entropy>;

int main() { ls::data_parallel<classifier, 1> trainer; }
