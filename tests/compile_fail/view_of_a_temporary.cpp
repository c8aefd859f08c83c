// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// expect: lockstep: view: the values are a temporary
#include <vector>

#include <lockstep/lockstep.hpp>

namespace ls = lockstep;

#ifdef LOCKSTEP_TEST_FIXED
int main() {
  const std::vector<float> values(24);
  return ls::view<4>(values).extent(0) == 6 ? 0 : 1;
}
#else
int main() { return ls::view<4>(std::vector<float>(24)).extent(0) == 6 ? 0 : 1; }
#endif
