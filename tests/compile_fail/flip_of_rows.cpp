// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// expect: lockstep: flip: the samples are pictures of (channels, rows, columns) or (rows, columns)
#include <lockstep/data/augment.hpp>
#include <lockstep/lockstep.hpp>

namespace ls = lockstep;
using ls::data::field;

#ifdef LOCKSTEP_TEST_FIXED
using sample = field<float, 2, 6>;
#else
using sample = field<float, 12>;
#endif

int main() {
  const ls::data::dataset<sample> train(std::vector<float>(24));
  const ls::data::loader batches{train, {.batch = 2}, ls::data::augment<ls::data::flip<>>{}};
}
