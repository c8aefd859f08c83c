// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// expect: lockstep: data_parallel: two optimizers are given
#include <lockstep/lockstep.hpp>

namespace ls = lockstep;
using net = ls::sequential<ls::linear<8>, ls::relu, ls::linear<3>>;
using classifier = ls::model<net, ls::input<4>, ls::cross_entropy>;

#ifdef LOCKSTEP_TEST_FIXED
using policy = ls::cpu;
#else
using policy = ls::sgd;
#endif

int main() { ls::data_parallel<classifier, 2, ls::sgd, policy> trainer; }
