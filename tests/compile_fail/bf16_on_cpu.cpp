// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// expect: lockstep: data_parallel: precision::bf16 on the cpu backend has a header of its own
#include <lockstep/lockstep.hpp>

namespace ls = lockstep;

using regression = ls::model<ls::sequential<ls::linear<4>>, ls::input<8>, ls::mean_squared_error>;

#ifdef LOCKSTEP_TEST_FIXED
int main() { ls::data_parallel<regression, 2, ls::precision::fp32> trainer; }
#else
int main() { ls::data_parallel<regression, 2, ls::precision::bf16> trainer; }
#endif
