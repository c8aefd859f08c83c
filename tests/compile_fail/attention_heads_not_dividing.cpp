// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// expect: lockstep: multi_head_attention: the sample that arrives (Arriving) is not T rows (T, C) of features whose number
#include <lockstep/lockstep.hpp>

namespace ls = lockstep;

#ifdef LOCKSTEP_TEST_FIXED
using net = ls::sequential<ls::linear<16>, ls::multi_head_attention<4>>;
#else
using net = ls::sequential<ls::linear<16>, ls::multi_head_attention<5>>;
#endif

int main() { ls::data_parallel<ls::model<net, ls::input<3, 12>, ls::mean_squared_error>, 2> trainer; }
