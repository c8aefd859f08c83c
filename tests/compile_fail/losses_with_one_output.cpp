// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// expect: lockstep: losses: the network has one output
#include <lockstep/lockstep.hpp>

namespace ls = lockstep;

#ifdef LOCKSTEP_TEST_FIXED
using loss = ls::cross_entropy;
#else
using loss = ls::losses<ls::cross_entropy, ls::mean_squared_error>;
#endif
using m = ls::model<ls::sequential<ls::linear<8>, ls::relu, ls::linear<3>>, ls::input<4>, loss>;

int main() {
  ls::data_parallel<m, 1> trainer;
  trainer.initialize(ls::seed{1});
}
