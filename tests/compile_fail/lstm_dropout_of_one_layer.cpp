// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// expect: lockstep: lstm, gru, rnn: dropout comes between layers, and there is one
#include <lockstep/lockstep.hpp>

namespace ls = lockstep;

#ifdef LOCKSTEP_TEST_FIXED
using net = ls::sequential<ls::lstm<16, ls::layers<2>, ls::dropout<0.5>>, ls::linear<10>>;
#else
using net = ls::sequential<ls::lstm<16, ls::dropout<0.5>>, ls::linear<10>>;
#endif

int main() { ls::data_parallel<ls::model<net, ls::input<6, 12>, ls::mean_squared_error>, 2> trainer; }
