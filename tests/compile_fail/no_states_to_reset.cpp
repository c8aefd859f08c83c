// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// expect: lockstep: data_parallel::reset_states: no layer of the model carries states from step to step
#include <lockstep/lockstep.hpp>

namespace ls = lockstep;

#ifdef LOCKSTEP_TEST_FIXED
using net = ls::sequential<ls::lstm<16, ls::carry_state>, ls::linear<10>>;
#else
using net = ls::sequential<ls::lstm<16>, ls::linear<10>>;
#endif

int main() {
  ls::data_parallel<ls::model<net, ls::input<6, 12>, ls::mean_squared_error>, 2> trainer;
  trainer.reset_states();
}
