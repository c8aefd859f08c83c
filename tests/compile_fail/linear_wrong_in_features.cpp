// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// expect: lockstep: linear<In, Out>: In is not the number of features that arrive
#include <lockstep/lockstep.hpp>

namespace ls = lockstep;

#ifdef LOCKSTEP_TEST_FIXED
constexpr int features = 64 * 32 * 32;
#else
constexpr int features = 64 * 30 * 30;
#endif
using net = ls::sequential<ls::conv2d<64, 3, ls::padding<1>>, ls::relu, ls::flatten, ls::linear<features, 10>>;

int main() { ls::data_parallel<ls::model<net, ls::input<3, 32, 32>, ls::cross_entropy>, 2> trainer; }
