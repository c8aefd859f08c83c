// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// expect: lockstep: a trainer stays where it is made
#include <lockstep/lockstep.hpp>

namespace ls = lockstep;
using net = ls::sequential<ls::linear<8>, ls::relu, ls::linear<3>>;
using classifier = ls::model<net, ls::input<4>, ls::cross_entropy>;

#ifdef LOCKSTEP_TEST_FIXED
auto make() { return ls::data_parallel<classifier, 1>(); }
#else
auto make() {
  ls::data_parallel<classifier, 1> trainer;
  return trainer;
}
#endif

int main() { return make().steps() == 0 ? 0 : 1; }
