// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// expect: lockstep: losses: one of its arguments is not a loss
#include <lockstep/lockstep.hpp>

namespace ls = lockstep;

#ifdef LOCKSTEP_TEST_FIXED
using loss = ls::losses<ls::named<"class", ls::cross_entropy>, ls::named<"box", ls::mean_squared_error>>;
#else
using loss = ls::losses<ls::named<"class", ls::cross_entropy>, ls::named<"box", ls::relu>>;
#endif
using heads = ls::outputs<ls::named<"class", ls::linear<3>>, ls::named<"box", ls::linear<4>>>;
using m = ls::model<ls::sequential<ls::linear<8>, ls::relu, heads>, ls::input<6>, loss>;

int main() {
  ls::data_parallel<m, 1> trainer;
  trainer.initialize(ls::seed{1});
}
