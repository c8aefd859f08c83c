// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// expect: lockstep: model: input<...> takes the one to four extents of one sample
#include <lockstep/lockstep.hpp>

namespace ls = lockstep;

#ifdef LOCKSTEP_TEST_FIXED
using sample = ls::input<4>;
#else
using sample = ls::input<ls::dynamic>;
#endif
using net = ls::sequential<ls::linear<8>, ls::relu, ls::linear<3>>;
using classifier = ls::model<net, sample, ls::cross_entropy>;

int main() { ls::data_parallel<classifier, 1> trainer; }
