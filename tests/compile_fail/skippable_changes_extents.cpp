// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// expect: lockstep: skippable: the extents that leave the layer are not those that arrive
#include <lockstep/lockstep.hpp>

namespace ls = lockstep;

#ifdef LOCKSTEP_TEST_FIXED
using net = ls::sequential<ls::linear<8>, ls::skippable<ls::linear<8>>>;
#else
using net = ls::sequential<ls::linear<8>, ls::skippable<ls::linear<4>>>;
#endif
using regression = ls::model<net, ls::input<8>, ls::mean_squared_error>;

int main() {
  const ls::data_parallel<regression, 2> trainer;
  return trainer.steps() == 0 ? 0 : 1;
}
