// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// expect: lockstep: data_parallel: the number of replicas, after the model, is one or more
#include <lockstep/lockstep.hpp>

namespace ls = lockstep;
using net = ls::sequential<ls::linear<8>, ls::relu, ls::linear<3>>;
using classifier = ls::model<net, ls::input<4>, ls::cross_entropy>;

#ifdef LOCKSTEP_TEST_FIXED
constexpr int replicas = 2;
#else
constexpr int replicas = 0;
#endif

int main() { ls::data_parallel<classifier, replicas> trainer; }
