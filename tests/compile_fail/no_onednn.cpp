// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// expect: lockstep: data_parallel: the cpu backend needs oneDNN
#ifndef LOCKSTEP_TEST_FIXED
#define LOCKSTEP_WITHOUT_ONEDNN
#endif
#include <lockstep/lockstep.hpp>

namespace ls = lockstep;

using regression = ls::model<ls::sequential<ls::linear<4>>, ls::input<8>, ls::mean_squared_error>;

int main() { ls::data_parallel<regression, 2> trainer; }
