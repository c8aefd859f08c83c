// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// expect: lockstep: data_parallel::skip: no layer of the model can be skipped
#include <lockstep/lockstep.hpp>

namespace ls = lockstep;

#ifdef LOCKSTEP_TEST_FIXED
using net = ls::sequential<ls::named<"block", ls::skippable<ls::linear<8>>>>;
#else
using net = ls::sequential<ls::named<"block", ls::linear<8>>>;
#endif
using regression = ls::model<net, ls::input<8>, ls::mean_squared_error>;

int main() {
  ls::data_parallel<regression, 2> trainer;
  trainer.skip("block");
  return trainer.steps() == 0 ? 0 : 1;
}
