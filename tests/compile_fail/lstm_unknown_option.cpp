// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// expect: lockstep: lstm, gru, rnn: take layers<>, bidirectional, dropout<>, last_state, carry_state and no_bias
#include <lockstep/lockstep.hpp>

namespace ls = lockstep;

#ifdef LOCKSTEP_TEST_FIXED
using net = ls::sequential<ls::rnn<16, ls::relu>, ls::linear<10>>;
#else
using net = ls::sequential<ls::lstm<16, ls::relu>, ls::linear<10>>;
#endif

int main() { ls::data_parallel<ls::model<net, ls::input<6, 12>, ls::mean_squared_error>, 2> trainer; }
