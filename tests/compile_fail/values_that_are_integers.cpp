// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// expect: lockstep: targets: the loss takes values of the backend's element type
#include <cstdint>
#include <vector>

#include <lockstep/lockstep.hpp>

namespace ls = lockstep;
using net = ls::sequential<ls::linear<8>, ls::relu, ls::linear<3>>;
using classifier = ls::model<net, ls::input<4>, ls::mean_squared_error>;
const ls::batch_of<float, 4> images(6);

#ifdef LOCKSTEP_TEST_FIXED
const std::vector<float> labels(18);
#else
const std::vector<int> labels(18);
#endif

int main() {
  ls::data_parallel<classifier, 2> trainer;
  return trainer.step(images, labels) > 0 ? 0 : 1;
}
