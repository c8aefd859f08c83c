// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// expect: lockstep: model: two layers have the same path (Name)
#include <lockstep/lockstep.hpp>

namespace ls = lockstep;

#ifdef LOCKSTEP_TEST_FIXED
using first = ls::named<"first", ls::linear<4>>;
#else
using first = ls::named<"1", ls::linear<4>>;
#endif
using net = ls::sequential<first, ls::linear<3>>;
using classifier = ls::model<net, ls::input<4>, ls::cross_entropy>;

int main() { ls::data_parallel<classifier, 1> trainer; }
