// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// expect: lockstep: tied: a layer that may be skipped cannot share its parameters
#include <lockstep/lockstep.hpp>

namespace ls = lockstep;

#ifdef LOCKSTEP_TEST_FIXED
using block = ls::residual<ls::tied<"shared", ls::linear<4>>>;
#else
using block = ls::skippable<ls::residual<ls::tied<"shared", ls::linear<4>>>>;
#endif
using net = ls::sequential<block, ls::relu, ls::tied<"shared", ls::linear<4>>, ls::linear<3>>;
using classifier = ls::model<net, ls::input<4>, ls::cross_entropy>;

int main() { ls::data_parallel<classifier, 1> trainer; }
