// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// expect: lockstep: model: takes one network: put the layers inside lockstep::sequential
#include <lockstep/lockstep.hpp>

namespace ls = lockstep;

#ifdef LOCKSTEP_TEST_FIXED
using classifier = ls::model<ls::sequential<ls::linear<8>, ls::relu, ls::linear<3>>, ls::input<4>, ls::cross_entropy>;
#else
using classifier = ls::model<ls::linear<8>, ls::relu, ls::linear<3>, ls::input<4>, ls::cross_entropy>;
#endif

int main() { ls::data_parallel<classifier, 1> trainer; }
