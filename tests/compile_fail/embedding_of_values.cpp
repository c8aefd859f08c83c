// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// expect: lockstep: embedding: it looks up tokens, but what arrives are values
#include <lockstep/lockstep.hpp>

namespace ls = lockstep;

#ifdef LOCKSTEP_TEST_FIXED
using words = ls::tokens<16>;
#else
using words = ls::input<16>;
#endif
using net = ls::sequential<ls::embedding<100, 8>, ls::linear<100>>;

int main() { ls::data_parallel<ls::model<net, words, ls::cross_entropy>, 1> trainer; }
