// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// expect: lockstep: inputs: no layer reads this input (Name); begin a branch of the network with from<...>
#include <lockstep/lockstep.hpp>

namespace ls = lockstep;

using two = ls::inputs<ls::named<"image", ls::input<2, 4, 4>>, ls::named<"words", ls::input<5>>>;
using image = ls::sequential<ls::from<"image">, ls::flatten, ls::linear<6>>;
#ifdef LOCKSTEP_TEST_FIXED
using net = ls::sequential<ls::concat<image, ls::from<"words">>, ls::linear<3>>;
#else
using net = ls::sequential<image, ls::linear<3>>;
#endif
using m = ls::model<net, two, ls::cross_entropy>;

int main() { ls::data_parallel<m, 1> trainer; }
