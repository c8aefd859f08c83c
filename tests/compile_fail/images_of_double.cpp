// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// expect: lockstep: images: elements of another type (Given) than the backend computes in (Taken)
#include <cstdint>
#include <vector>

#include <lockstep/lockstep.hpp>

namespace ls = lockstep;
using net = ls::sequential<ls::linear<8>, ls::relu, ls::linear<3>>;
using classifier = ls::model<net, ls::input<4>, ls::cross_entropy>;
const std::vector<std::int64_t> labels(6);

#ifdef LOCKSTEP_TEST_FIXED
const std::vector<float> images(24);
#else
const std::vector<double> images(24);
#endif

int main() {
  ls::data_parallel<classifier, 2> trainer;
  return trainer.step(images, labels) > 0 ? 0 : 1;
}
