// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// expect: lockstep: gelu: takes no option but approximate_tanh
#include <lockstep/lockstep.hpp>

namespace ls = lockstep;

#ifdef LOCKSTEP_TEST_FIXED
using net = ls::sequential<ls::gelu<ls::approximate_tanh>, ls::flatten, ls::linear<10>>;
#else
using net = ls::sequential<ls::gelu<ls::relu>, ls::flatten, ls::linear<10>>;
#endif

int main() { ls::data_parallel<ls::model<net, ls::input<3, 4, 4>, ls::cross_entropy>, 2> trainer; }
