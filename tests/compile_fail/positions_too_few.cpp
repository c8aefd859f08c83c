// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// expect: lockstep: learned_positions: more rows arrive (Arriving) than there are positions (Context)
#include <lockstep/lockstep.hpp>

namespace ls = lockstep;

#ifdef LOCKSTEP_TEST_FIXED
using positions = ls::learned_positions<16>;
#else
using positions = ls::learned_positions<15>;
#endif
using net = ls::sequential<ls::embedding<100, 8>, positions, ls::linear<100>>;

int main() { ls::data_parallel<ls::model<net, ls::tokens<16>, ls::cross_entropy>, 1> trainer; }
