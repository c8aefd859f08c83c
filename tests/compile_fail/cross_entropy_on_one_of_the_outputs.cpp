// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// expect: lockstep: cross_entropy: the output that arrives (Arriving) is not one row of logits
#include <lockstep/lockstep.hpp>

namespace ls = lockstep;

#ifdef LOCKSTEP_TEST_FIXED
using head = ls::sequential<ls::flatten, ls::linear<3>>;
#else
using head = ls::conv2d<3, 3>;
#endif
using net = ls::sequential<ls::conv2d<4, 3>, ls::relu, ls::outputs<ls::sequential<ls::flatten, ls::linear<2>>, head>>;
using m = ls::model<net, ls::input<2, 8, 8>, ls::losses<ls::mean_squared_error, ls::cross_entropy>>;

int main() {
  ls::data_parallel<m, 1> trainer;
  trainer.initialize(ls::seed{1});
}
