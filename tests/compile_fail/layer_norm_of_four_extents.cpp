// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// expect: lockstep: layer_norm: the sample that arrives (Arriving) is neither a row of features, nor rows (T, C), nor a
#include <lockstep/lockstep.hpp>

namespace ls = lockstep;

#ifdef LOCKSTEP_TEST_FIXED
using net = ls::sequential<ls::flatten, ls::layer_norm<>, ls::linear<10>>;
#else
using net = ls::sequential<ls::layer_norm<>, ls::flatten, ls::linear<10>>;
#endif

int main() { ls::data_parallel<ls::model<net, ls::input<2, 3, 4, 5>, ls::cross_entropy>, 2> trainer; }
