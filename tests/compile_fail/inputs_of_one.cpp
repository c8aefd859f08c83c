// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// expect: lockstep: inputs: at least two inputs; a model with one names it alone
#include <lockstep/lockstep.hpp>

namespace ls = lockstep;

using net = ls::sequential<ls::linear<6>, ls::relu>;
#ifdef LOCKSTEP_TEST_FIXED
using m = ls::model<net, ls::input<5>, ls::mean_squared_error>;
#else
using m = ls::model<net, ls::inputs<ls::named<"words", ls::input<5>>>, ls::mean_squared_error>;
#endif

int main() { ls::data_parallel<m, 1> trainer; }
