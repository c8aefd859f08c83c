// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// expect: lockstep: data_parallel: reduce::reproducible: the number of replicas does not divide
#include <lockstep/lockstep.hpp>

namespace ls = lockstep;
using net = ls::sequential<ls::linear<8>, ls::relu, ls::linear<3>>;
using classifier = ls::model<net, ls::input<4>, ls::cross_entropy>;

#ifdef LOCKSTEP_TEST_FIXED
using shards = ls::micro_shards<16>;
#else
using shards = ls::micro_shards<8>;
#endif

int main() { ls::data_parallel<classifier, 16, ls::reduce::reproducible, shards> trainer; }
