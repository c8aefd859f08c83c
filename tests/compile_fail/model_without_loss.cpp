// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// expect: lockstep: data_parallel::step: the model has no loss
#include <cstdint>
#include <vector>

#include <lockstep/lockstep.hpp>

namespace ls = lockstep;

using net = ls::sequential<ls::linear<16>, ls::relu, ls::linear<4>>;
#ifdef LOCKSTEP_TEST_FIXED
using classifier = ls::model<net, ls::input<8>, ls::cross_entropy>;
#else
using classifier = ls::model<net, ls::input<8>>;
#endif

int main() {
  ls::data_parallel<classifier, 2> trainer;
  const ls::batch_of<float, 8> samples(32);
  const std::vector<std::int64_t> labels(32);
  return trainer.step(samples, labels) > 0 ? 0 : 1;
}
