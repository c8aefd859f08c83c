// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// expect: lockstep: normalise: the normalisation was measured for samples of other extents
#include <lockstep/data/augment.hpp>
#include <lockstep/lockstep.hpp>

namespace ls = lockstep;
using ls::data::field;

#ifdef LOCKSTEP_TEST_FIXED
using sample = ls::shape<3, 32, 32>;
#else
using sample = ls::shape<3, 28, 28>;
#endif

int main() {
  const auto data = ls::data::synthetic();
  const ls::data::normalisation<sample> norm;
  const ls::data::loader batches{data.train, {.batch = 8}, ls::data::augment{ls::data::normalise{norm}}};
}
