// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// expect: lockstep: losses: without names there are as many losses as the network has outputs
#include <lockstep/lockstep.hpp>

namespace ls = lockstep;

#ifdef LOCKSTEP_TEST_FIXED
using loss = ls::losses<ls::cross_entropy, ls::mean_squared_error, ls::mean_squared_error>;
#else
using loss = ls::losses<ls::cross_entropy, ls::mean_squared_error>;
#endif
using net = ls::sequential<ls::linear<8>, ls::outputs<ls::linear<3>, ls::linear<2>, ls::linear<1>>>;
using m = ls::model<net, ls::input<4>, loss>;

int main() {
  ls::data_parallel<m, 1> trainer;
  trainer.initialize(ls::seed{1});
}
