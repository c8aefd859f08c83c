// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// expect: lockstep: repeat: at least one copy
#include <lockstep/lockstep.hpp>

namespace ls = lockstep;

#ifdef LOCKSTEP_TEST_FIXED
constexpr int depth = 1;
#else
constexpr int depth = 0;
#endif
using net = ls::sequential<ls::repeat<depth, ls::sequential<ls::linear<4>, ls::relu>>, ls::linear<3>>;
using classifier = ls::model<net, ls::input<4>, ls::cross_entropy>;

int main() { ls::data_parallel<classifier, 1> trainer; }
