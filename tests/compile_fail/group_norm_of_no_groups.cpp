// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// expect: lockstep: group_norm: the groups must divide the channels that arrive (the first extent of Arriving)
#include <lockstep/lockstep.hpp>

namespace ls = lockstep;

#ifdef LOCKSTEP_TEST_FIXED
constexpr int groups = 1;
#else
constexpr int groups = 0;
#endif
using net = ls::sequential<ls::group_norm<groups>, ls::flatten, ls::linear<10>>;

int main() { ls::data_parallel<ls::model<net, ls::input<3, 8, 8>, ls::cross_entropy>, 2> trainer; }
