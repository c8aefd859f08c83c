// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// expect: lockstep: images: what is handed in has other extents (Given)
#include <cstdint>
#include <vector>

#include <lockstep/lockstep.hpp>

namespace ls = lockstep;
using net = ls::sequential<ls::linear<8>, ls::relu, ls::linear<3>>;
using classifier = ls::model<net, ls::input<4>, ls::cross_entropy>;
const std::vector<std::int64_t> labels(6);

#ifdef LOCKSTEP_TEST_FIXED
const ls::batch_of<float, 4> images(6);
#else
const ls::batch_of<float, 5> images(6);
#endif

int main() {
  ls::data_parallel<classifier, 2> trainer;
  return trainer.step(images, labels) > 0 ? 0 : 1;
}
