// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// expect: lockstep: concat: the branches' outputs (One, Other) differ in more than their first extent
#include <lockstep/lockstep.hpp>

namespace ls = lockstep;

#ifdef LOCKSTEP_TEST_FIXED
using down = ls::max_pool2d<3, ls::stride<1>, ls::padding<1>>;
#else
using down = ls::max_pool2d<2>;
#endif
using net = ls::sequential<ls::concat<ls::identity, down>, ls::flatten, ls::linear<3>>;
using classifier = ls::model<net, ls::input<2, 8, 8>, ls::cross_entropy>;

int main() { ls::data_parallel<classifier, 1> trainer; }
