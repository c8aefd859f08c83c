// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// expect: lockstep: outputs: it ends a network, but something reads its outputs as if they were one value
#include <lockstep/lockstep.hpp>

namespace ls = lockstep;

#ifdef LOCKSTEP_TEST_FIXED
using net =
    ls::sequential<ls::linear<8>, ls::relu, ls::outputs<ls::sequential<ls::linear<3>, ls::relu>, ls::linear<2>>>;
#else
using net = ls::sequential<ls::linear<8>, ls::outputs<ls::linear<3>, ls::linear<2>>, ls::relu>;
#endif
using m = ls::model<net, ls::input<4>, ls::losses<ls::cross_entropy, ls::mean_squared_error>>;

int main() { ls::data_parallel<m, 1> trainer; }
