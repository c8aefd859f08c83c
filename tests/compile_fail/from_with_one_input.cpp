// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// expect: lockstep: from: no input of the model has this name (Name)
#include <lockstep/lockstep.hpp>

namespace ls = lockstep;

#ifdef LOCKSTEP_TEST_FIXED
using net = ls::sequential<ls::linear<6>, ls::relu, ls::linear<3>>;
#else
using net = ls::sequential<ls::from<"words">, ls::linear<6>, ls::relu, ls::linear<3>>;
#endif
using m = ls::model<net, ls::input<5>, ls::cross_entropy>;

int main() { ls::data_parallel<m, 1> trainer; }
