// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// expect: lockstep: attention: takes causal and dropout<>
#include <lockstep/lockstep.hpp>

namespace ls = lockstep;

#ifdef LOCKSTEP_TEST_FIXED
using net = ls::sequential<ls::linear<12>, ls::packed_attention<2, ls::causal>>;
#else
using net = ls::sequential<ls::linear<12>, ls::packed_attention<2, ls::no_bias>>;
#endif

int main() { ls::data_parallel<ls::model<net, ls::input<3, 5>, ls::mean_squared_error>, 2> trainer; }
