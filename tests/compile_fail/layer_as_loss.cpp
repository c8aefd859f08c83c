// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// expect: lockstep: model: what follows input<...> is not a loss
#include <lockstep/lockstep.hpp>

namespace ls = lockstep;

#ifdef LOCKSTEP_TEST_FIXED
using loss = ls::cross_entropy;
#else
using loss = ls::linear<3>;
#endif
using net = ls::sequential<ls::linear<8>, ls::relu, ls::linear<3>>;
using classifier = ls::model<net, ls::input<4>, loss>;

int main() { ls::data_parallel<classifier, 1> trainer; }
