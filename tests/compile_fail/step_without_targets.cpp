// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// expect: lockstep: data_parallel::step: takes the images and the targets of a batch
#include <cstdint>
#include <vector>

#include <lockstep/lockstep.hpp>

namespace ls = lockstep;
using net = ls::sequential<ls::linear<8>, ls::relu, ls::linear<3>>;
using classifier = ls::model<net, ls::input<4>, ls::cross_entropy>;
const ls::batch_of<float, 4> images(6);
const std::vector<std::int64_t> labels(6);

#ifdef LOCKSTEP_TEST_FIXED
double step(ls::data_parallel<classifier, 1>& t) { return t.step(images, labels); }
#else
double step(ls::data_parallel<classifier, 1>& t) { return t.step(images); }
#endif

int main() {
  ls::data_parallel<classifier, 1> trainer;
  return step(trainer) > 0 ? 0 : 1;
}
