// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// expect: lockstep: leaky_relu: the slope is a finite number
#include <lockstep/lockstep.hpp>

namespace ls = lockstep;

#ifdef LOCKSTEP_TEST_FIXED
using net = ls::sequential<ls::leaky_relu<0.2>, ls::flatten, ls::linear<10>>;
#else
using net = ls::sequential<ls::leaky_relu<__builtin_inf()>, ls::flatten, ls::linear<10>>;
#endif

int main() { ls::data_parallel<ls::model<net, ls::input<3, 4, 4>, ls::cross_entropy>, 2> trainer; }
