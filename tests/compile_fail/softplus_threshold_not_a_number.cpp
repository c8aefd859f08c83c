// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// expect: lockstep: softplus: the threshold is a finite number
#include <lockstep/lockstep.hpp>

namespace ls = lockstep;

#ifdef LOCKSTEP_TEST_FIXED
using net = ls::sequential<ls::softplus<1, 5>, ls::flatten, ls::linear<10>>;
#else
using net = ls::sequential<ls::softplus<1, __builtin_nan("")>, ls::flatten, ls::linear<10>>;
#endif

int main() { ls::data_parallel<ls::model<net, ls::input<3, 4, 4>, ls::cross_entropy>, 2> trainer; }
