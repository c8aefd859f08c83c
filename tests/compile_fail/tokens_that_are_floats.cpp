// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// expect: lockstep: tokens: they are integers of any type, and the elements that are handed in (Given) are none
#include <vector>

#include <lockstep/lockstep.hpp>

namespace ls = lockstep;

using net = ls::sequential<ls::embedding<100, 8>, ls::linear<100>>;
#ifdef LOCKSTEP_TEST_FIXED
const std::vector<short> words(32);
#else
const std::vector<float> words(32);
#endif

int main() {
  ls::data_parallel<ls::model<net, ls::tokens<16>, ls::cross_entropy>, 1> trainer;
  return trainer.forward(words).size() > 0 ? 0 : 1;
}
