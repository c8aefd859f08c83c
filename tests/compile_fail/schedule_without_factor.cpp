// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// expect: lockstep: scheduled: the second argument is a schedule
#include <lockstep/lockstep.hpp>

namespace ls = lockstep;
using net = ls::sequential<ls::linear<8>, ls::relu, ls::linear<3>>;
using classifier = ls::model<net, ls::input<4>, ls::cross_entropy>;

struct course {
  int steps = 10;
#ifdef LOCKSTEP_TEST_FIXED
  double operator()(std::int64_t step) const { return step < steps ? 1 : 0.1; }
#endif
};

int main() { ls::data_parallel<classifier, 2, ls::scheduled<ls::adamw, course>> trainer; }
