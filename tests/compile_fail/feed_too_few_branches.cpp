// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// expect: lockstep: feed: its first argument (L) is a layer that reads several values
#include <lockstep/lockstep.hpp>

namespace ls = lockstep;

using net = ls::sequential<ls::linear<4>,
#ifdef LOCKSTEP_TEST_FIXED
                           ls::sum<ls::linear<4>, ls::identity>,
#else
                           ls::feed<ls::linear<4>, ls::identity, ls::linear<4>>,
#endif
                           ls::linear<2>>;

int main() { ls::data_parallel<ls::model<net, ls::input<3>, ls::cross_entropy>, 1> trainer; }
