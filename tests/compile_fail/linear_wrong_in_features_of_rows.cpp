// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// expect: lockstep: linear<In, Out>: In is not the number of features that arrive
#include <lockstep/lockstep.hpp>

namespace ls = lockstep;

#ifdef LOCKSTEP_TEST_FIXED
constexpr int features = 7;
#else
constexpr int features = 28;  // of all rows together
#endif
using net = ls::sequential<ls::linear<features, 16>, ls::flatten, ls::linear<10>>;

int main() { ls::data_parallel<ls::model<net, ls::input<4, 7>, ls::cross_entropy>, 2> trainer; }
