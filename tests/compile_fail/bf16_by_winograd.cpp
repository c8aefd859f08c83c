// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// expect: lockstep: data_parallel: convolution::f2 and f4 are for float32
#include <lockstep/cpu_bf16.hpp>

namespace ls = lockstep;

using regression = ls::model<ls::sequential<ls::linear<4>>, ls::input<8>, ls::mean_squared_error>;

#ifdef LOCKSTEP_TEST_FIXED
int main() { ls::data_parallel<regression, 2, ls::precision::bf16, ls::convolution::direct> trainer; }
#else
int main() { ls::data_parallel<regression, 2, ls::precision::bf16, ls::convolution::f2> trainer; }
#endif
