// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// expect: lockstep: data_parallel::step: every layer of the model is frozen
#include <cstdint>
#include <vector>

#include <lockstep/lockstep.hpp>

namespace ls = lockstep;

#ifdef LOCKSTEP_TEST_FIXED
using net = ls::sequential<ls::frozen<ls::linear<16>>, ls::relu, ls::linear<4>>;
#else
using net = ls::sequential<ls::frozen<ls::linear<16>>, ls::relu, ls::frozen<ls::linear<4>>>;
#endif
using classifier = ls::model<net, ls::input<8>, ls::cross_entropy>;

int main() {
  ls::data_parallel<classifier, 2> trainer;
  const ls::batch_of<float, 8> samples(32);
  const std::vector<std::int64_t> labels(32);
  return trainer.step(samples, labels) > 0 ? 0 : 1;
}
