// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// expect: lockstep: generator: this layer (Layer) computes a row of its output from any rows of its input
#include <lockstep/generate/generator.hpp>
#include <lockstep/lockstep.hpp>

namespace ls = lockstep;

#ifdef LOCKSTEP_TEST_FIXED
using attention = ls::multi_head_attention<2, ls::causal>;
#else
using attention = ls::multi_head_attention<2>;
#endif
using net = ls::sequential<ls::embedding<100, 8>, attention, ls::linear<100>>;

int main() { ls::generator<ls::model<net, ls::tokens<16>, ls::cross_entropy>> writer; }
