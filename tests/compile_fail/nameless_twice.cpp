// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// expect: lockstep: model: two layers have the same path (Name)
#include <lockstep/lockstep.hpp>

namespace ls = lockstep;

#ifdef LOCKSTEP_TEST_FIXED
using second = ls::linear<4>;
#else
using second = ls::named<"", ls::linear<4>>;
#endif
using net = ls::sequential<ls::named<"", ls::linear<4>>, ls::relu, second, ls::named<"fc", ls::linear<3>>>;
using classifier = ls::model<net, ls::input<4>, ls::cross_entropy>;

int main() { ls::data_parallel<classifier, 1> trainer; }
