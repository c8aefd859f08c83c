// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// expect: lockstep: inputs: each has a name, by which the network reads it; one of them (Inputs) has none
#include <lockstep/lockstep.hpp>

namespace ls = lockstep;

#ifdef LOCKSTEP_TEST_FIXED
using two = ls::inputs<ls::named<"image", ls::input<2, 4, 4>>, ls::named<"words", ls::input<5>>>;
#else
using two = ls::inputs<ls::named<"image", ls::input<2, 4, 4>>, ls::input<5>>;
#endif
using net = ls::concat<ls::from<"words">, ls::from<"image", ls::flatten>>;
using m = ls::model<net, two, ls::mean_squared_error>;

int main() { ls::data_parallel<m, 1> trainer; }
