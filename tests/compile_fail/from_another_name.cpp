// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// expect: lockstep: from: no input of the model has this name (Name)
#include <lockstep/lockstep.hpp>

namespace ls = lockstep;

using two = ls::inputs<ls::named<"image", ls::input<2, 4, 4>>, ls::named<"words", ls::input<5>>>;
#ifdef LOCKSTEP_TEST_FIXED
using words = ls::from<"words", ls::linear<6>>;
#else
using words = ls::from<"word", ls::linear<6>>;
#endif
using net = ls::concat<words, ls::from<"image", ls::flatten>>;
using m = ls::model<net, two, ls::mean_squared_error>;

int main() { ls::data_parallel<m, 1> trainer; }
