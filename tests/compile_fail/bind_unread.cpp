// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// expect: lockstep: bind: nothing reads the value that has this name (Name)
#include <lockstep/lockstep.hpp>

namespace ls = lockstep;

#ifdef LOCKSTEP_TEST_FIXED
using body = ls::sum<ls::linear<4>, ls::from<"memory">>;
#else
using body = ls::linear<4>;
#endif
using net = ls::sequential<ls::bind<"memory", ls::linear<4>, body>, ls::linear<2>>;

int main() { ls::data_parallel<ls::model<net, ls::input<3>, ls::cross_entropy>, 1> trainer; }
