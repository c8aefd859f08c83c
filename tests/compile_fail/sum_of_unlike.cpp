// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// expect: lockstep: sum, residual: the branches' outputs (One, Other) have different extents
#include <lockstep/lockstep.hpp>

namespace ls = lockstep;

#ifdef LOCKSTEP_TEST_FIXED
using wide = ls::linear<8>;
#else
using wide = ls::linear<9>;
#endif
using net = ls::sequential<ls::sum<ls::linear<8>, wide>, ls::relu, ls::linear<3>>;
using classifier = ls::model<net, ls::input<4>, ls::cross_entropy>;

int main() { ls::data_parallel<classifier, 1> trainer; }
