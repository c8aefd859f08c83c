// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// expect: lockstep: sum, residual: the branches' outputs (One, Other) have different extents
#include <lockstep/lockstep.hpp>

namespace ls = lockstep;

using body = ls::conv2d<8, 3, ls::stride<2>, ls::padding<1>>;
#ifdef LOCKSTEP_TEST_FIXED
using block = ls::residual<body, ls::conv2d<8, 1, ls::stride<2>>>;
#else
using block = ls::residual<body>;
#endif
using net = ls::sequential<ls::conv2d<4, 3, ls::padding<1>>, block, ls::flatten, ls::linear<3>>;
using classifier = ls::model<net, ls::input<2, 8, 8>, ls::cross_entropy>;

int main() { ls::data_parallel<classifier, 1> trainer; }
