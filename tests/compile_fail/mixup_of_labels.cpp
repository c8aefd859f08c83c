// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// expect: lockstep: mixup: targets are mixed too, so every field holds floats
#include <lockstep/data/augment.hpp>
#include <lockstep/data/one_hot.hpp>
#include <lockstep/lockstep.hpp>

namespace ls = lockstep;

int main() {
  const auto data = ls::data::synthetic();
#ifdef LOCKSTEP_TEST_FIXED
  const auto train = ls::data::one_hot<10>(data.train);
  const ls::data::loader batches{train, {.batch = 8}, ls::data::augment{ls::data::mixup{.alpha = 0.2}}};
#else
  const ls::data::loader batches{data.train, {.batch = 8}, ls::data::augment{ls::data::mixup{.alpha = 0.2}}};
#endif
}
