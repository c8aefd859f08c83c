// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// expect: lockstep: model: what follows the network is not the extents of a sample
#include <lockstep/lockstep.hpp>

namespace ls = lockstep;
using net = ls::sequential<ls::linear<8>, ls::relu, ls::linear<3>>;

#ifdef LOCKSTEP_TEST_FIXED
using classifier = ls::model<net, ls::input<4>, ls::cross_entropy>;
#else
using classifier = ls::model<net, ls::cross_entropy, ls::input<4>>;
#endif

int main() { ls::data_parallel<classifier, 1> trainer; }
