// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// expect: lockstep: data_parallel::step: the trainer is const
#include <cstdint>
#include <vector>

#include <lockstep/lockstep.hpp>

namespace ls = lockstep;
using net = ls::sequential<ls::linear<8>, ls::relu, ls::linear<3>>;
using classifier = ls::model<net, ls::input<4>, ls::cross_entropy>;
const ls::batch_of<float, 4> images(6);
const std::vector<std::int64_t> labels(6);

#ifdef LOCKSTEP_TEST_FIXED
using trainer_type = ls::data_parallel<classifier, 2>;
#else
using trainer_type = const ls::data_parallel<classifier, 2>;
#endif

int main() {
  trainer_type trainer;
  return trainer.step(images, labels) > 0 ? 0 : 1;
}
