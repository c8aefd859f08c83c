// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// expect: lockstep: targets: the model has several losses (Taken), each of which takes targets of its own
#include <tuple>
#include <vector>

#include <lockstep/lockstep.hpp>

namespace ls = lockstep;

using net = ls::sequential<ls::linear<8>, ls::outputs<ls::linear<3>, ls::linear<2>>>;
using m = ls::model<net, ls::input<4>, ls::losses<ls::cross_entropy, ls::mean_squared_error>>;

int main() {
  ls::data_parallel<m, 1> trainer;
  const std::vector<float> x(8);
  const std::vector<int> classes(2);
#ifdef LOCKSTEP_TEST_FIXED
  const std::vector<float> values(4);
  trainer.step(x, std::tie(classes, values));
#else
  trainer.step(x, classes);
#endif
}
