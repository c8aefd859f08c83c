// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// expect: lockstep: rms_norm: takes epsilon<> and no_affine
#include <lockstep/lockstep.hpp>

namespace ls = lockstep;

#ifdef LOCKSTEP_TEST_FIXED
using net = ls::sequential<ls::linear<16>, ls::rms_norm<ls::no_affine>, ls::linear<10>>;
#else
using net = ls::sequential<ls::linear<16>, ls::rms_norm<ls::no_bias>, ls::linear<10>>;
#endif

int main() { ls::data_parallel<ls::model<net, ls::input<12>, ls::cross_entropy>, 2> trainer; }
