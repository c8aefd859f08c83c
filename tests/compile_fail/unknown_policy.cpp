// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// expect: lockstep: data_parallel: a policy after N is not a backend, an optimizer, a reduction
#include <lockstep/lockstep.hpp>

namespace ls = lockstep;

using regression = ls::model<ls::sequential<ls::linear<4>>, ls::input<8>, ls::mean_squared_error>;

#ifdef LOCKSTEP_TEST_FIXED
int main() { ls::data_parallel<regression, 2, ls::sgd> trainer; }
#else
int main() { ls::data_parallel<regression, 2, ls::relu> trainer; }
#endif
