// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// expect: lockstep: embedding: its only option is padding_index<Token>, of a token in the vocabulary
#include <lockstep/lockstep.hpp>

namespace ls = lockstep;

#ifdef LOCKSTEP_TEST_FIXED
using words = ls::embedding<100, 8, ls::padding_index<99>>;
#else
using words = ls::embedding<100, 8, ls::padding_index<100>>;
#endif
using net = ls::sequential<words, ls::linear<100>>;

int main() { ls::data_parallel<ls::model<net, ls::tokens<16>, ls::cross_entropy>, 1> trainer; }
