// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// expect: lockstep: transposed_linear<In, Out>: In is not the number of features that arrive
#include <lockstep/lockstep.hpp>

namespace ls = lockstep;

#ifdef LOCKSTEP_TEST_FIXED
using net = ls::transposed_linear<12, 4>;
#else
using net = ls::transposed_linear<3, 4>;
#endif

int main() { ls::data_parallel<ls::model<net, ls::input<3, 12>, ls::mean_squared_error>, 2> trainer; }
