// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// expect: lockstep: outputs: at least two branches
#include <lockstep/lockstep.hpp>

namespace ls = lockstep;

#ifdef LOCKSTEP_TEST_FIXED
using heads = ls::outputs<ls::linear<3>, ls::linear<2>>;
#else
using heads = ls::outputs<ls::linear<3>>;
#endif
using net = ls::sequential<ls::linear<8>, ls::relu, heads>;
using m = ls::model<net, ls::input<4>>;

int main() { ls::data_parallel<m, 1> trainer; }
