// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// expect: lockstep: name the data set
#include <lockstep/lockstep.hpp>

namespace ls = lockstep;

#ifdef LOCKSTEP_TEST_FIXED
int main() {
  const auto data = ls::data::synthetic();
  const ls::data::loader batches{data.test, {.batch = 8}};
}
#else
int main() { const ls::data::loader batches{ls::data::synthetic().test, {.batch = 8}}; }
#endif
