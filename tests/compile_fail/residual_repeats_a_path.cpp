// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// expect: lockstep: model: two layers have the same path (Name)
#include <lockstep/lockstep.hpp>

namespace ls = lockstep;

#ifdef LOCKSTEP_TEST_FIXED
using block = ls::residual<ls::named<"fc", ls::linear<4>>, ls::linear<4>>;
#else
using block = ls::residual<ls::named<"fc", ls::linear<4>>, ls::named<"fc", ls::linear<4>>>;
#endif
using classifier = ls::model<ls::sequential<block, ls::linear<3>>, ls::input<4>, ls::cross_entropy>;

int main() { ls::data_parallel<classifier, 1> trainer; }
