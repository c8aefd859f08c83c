// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// expect: lockstep: softmax: the sample that arrives (Arriving) is neither a row, nor rows, nor a picture
#include <lockstep/lockstep.hpp>

namespace ls = lockstep;

#ifdef LOCKSTEP_TEST_FIXED
using net = ls::sequential<ls::flatten, ls::softmax, ls::linear<10>>;
#else
using net = ls::sequential<ls::softmax, ls::flatten, ls::linear<10>>;
#endif

int main() { ls::data_parallel<ls::model<net, ls::input<2, 3, 4, 4>, ls::cross_entropy>, 2> trainer; }
