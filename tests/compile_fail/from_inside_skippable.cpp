// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// expect: lockstep: from: it takes an input (Name) in place of what arrives, so that nothing reads the layers before it
#include <lockstep/lockstep.hpp>

namespace ls = lockstep;

using two = ls::inputs<ls::named<"image", ls::input<6>>, ls::named<"words", ls::input<6>>>;
#ifdef LOCKSTEP_TEST_FIXED
using block = ls::skippable<ls::sum<ls::identity, ls::from<"words">>>;
#else
using block = ls::skippable<ls::from<"words">>;
#endif
using net = ls::sequential<ls::from<"image", ls::linear<6>>, block, ls::linear<3>>;
using m = ls::model<net, two, ls::cross_entropy>;

int main() { ls::data_parallel<m, 1> trainer; }
