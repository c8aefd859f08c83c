// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// expect: lockstep: inputs: each is the one to four extents of one sample, or tokens<T>, with a name
#include <lockstep/lockstep.hpp>

namespace ls = lockstep;

#ifdef LOCKSTEP_TEST_FIXED
using two = ls::inputs<ls::named<"left", ls::input<5>>, ls::named<"right", ls::input<6>>>;
#else
using two = ls::inputs<ls::named<"left", ls::input<5>>, ls::named<"right", ls::linear<6>>>;
#endif
using net = ls::sequential<ls::concat<ls::from<"left">, ls::from<"right">>, ls::linear<3>>;
using m = ls::model<net, two, ls::mean_squared_error>;

int main() { ls::data_parallel<m, 1> trainer; }
