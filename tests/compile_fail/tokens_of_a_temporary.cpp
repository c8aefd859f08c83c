// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// expect: lockstep: name the sequence
#include <lockstep/lockstep.hpp>

namespace ls = lockstep;

#ifdef LOCKSTEP_TEST_FIXED
int main() {
  const auto text = ls::data::read_bytes("input.txt");
  return text.values().front();
}
#else
int main() { return ls::data::read_bytes("input.txt").values().front(); }
#endif
