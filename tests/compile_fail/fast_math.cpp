// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// expect: lockstep: NaN, infinity and the order of sums count here: compile without -ffast-math
// flags: -ffast-math
#include <lockstep/lockstep.hpp>

namespace ls = lockstep;

using regression = ls::model<ls::sequential<ls::linear<4>>, ls::input<8>, ls::mean_squared_error>;

int main() { ls::data_parallel<regression, 2> trainer; }
