// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// expect: lockstep: tokens: something computes with the tokens of an input (Name) as if they were values
#include <lockstep/lockstep.hpp>

namespace ls = lockstep;

#ifdef LOCKSTEP_TEST_FIXED
using net = ls::sequential<ls::embedding<100, 8>, ls::linear<100>>;
#else
using net = ls::sequential<ls::linear<100>>;
#endif

int main() { ls::data_parallel<ls::model<net, ls::tokens<16>, ls::cross_entropy>, 1> trainer; }
