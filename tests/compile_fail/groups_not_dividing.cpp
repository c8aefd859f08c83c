// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// expect: lockstep: conv2d: groups must divide the channels that arrive and the channels that leave
#include <lockstep/lockstep.hpp>

namespace ls = lockstep;

#ifdef LOCKSTEP_TEST_FIXED
constexpr int groups = 2;
#else
constexpr int groups = 3;
#endif
using net = ls::sequential<ls::conv2d<6, 3, ls::groups<groups>>, ls::flatten, ls::linear<10>>;

int main() { ls::data_parallel<ls::model<net, ls::input<4, 8, 8>, ls::cross_entropy>, 2> trainer; }
