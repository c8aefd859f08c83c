// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// expect: lockstep: sequential: one of its arguments is not a layer
#include <lockstep/lockstep.hpp>

namespace ls = lockstep;

#ifdef LOCKSTEP_TEST_FIXED
using squash = ls::relu;
#else
using squash = decltype([](float x) { return x * x; });
#endif
using net = ls::sequential<ls::linear<8>, squash, ls::linear<3>>;
using classifier = ls::model<net, ls::input<4>, ls::cross_entropy>;

int main() { ls::data_parallel<classifier, 1> trainer; }
