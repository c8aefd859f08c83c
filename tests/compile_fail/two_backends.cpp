// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// expect: lockstep: data_parallel: two backends are given
#include <lockstep/backend/reference/reference.hpp>
#include <lockstep/lockstep.hpp>

namespace ls = lockstep;

using regression = ls::model<ls::sequential<ls::linear<4>>, ls::input<8>, ls::mean_squared_error>;

#ifdef LOCKSTEP_TEST_FIXED
int main() { ls::data_parallel<regression, 2, ls::sgd, ls::reference<double>> trainer; }
#else
int main() { ls::data_parallel<regression, 2, ls::cpu, ls::reference<double>> trainer; }
#endif
