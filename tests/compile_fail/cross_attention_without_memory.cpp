// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// expect: lockstep: cross_attention: what arrives is not as many rows (T, C) as there are queries
#include <lockstep/lockstep.hpp>

namespace ls = lockstep;

#ifdef LOCKSTEP_TEST_FIXED
using net = ls::cross_attention<12, 4, 3, ls::linear<12>>;
#else
using net = ls::cross_attention<12, 4, 6, ls::linear<12>>;
#endif

int main() { ls::data_parallel<ls::model<net, ls::input<3, 12>, ls::mean_squared_error>, 2> trainer; }
