// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// expect: lockstep: sequential: one of its arguments is not a layer
#include <lockstep/lockstep.hpp>

namespace ls = lockstep;

#ifdef LOCKSTEP_TEST_FIXED
using net = ls::sequential<ls::linear<16>, ls::relu, ls::linear<4>>;
#else
using net = ls::sequential<ls::linear<16>, ls::cross_entropy, ls::linear<4>>;
#endif

int main() { ls::data_parallel<ls::model<net, ls::input<8>, ls::cross_entropy>, 2> trainer; }
