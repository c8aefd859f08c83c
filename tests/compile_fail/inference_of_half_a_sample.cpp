// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// expect: lockstep: inference: the array's length is no whole number of the samples
#include <array>
#include <vector>

#include <lockstep/inference.hpp>

namespace ls = lockstep;

using small = ls::model<ls::sequential<ls::linear<3>>, ls::input<8>>;

int main() {
  const std::vector<float> state(27);
  const ls::inference<small> model(state);
#ifdef LOCKSTEP_TEST_FIXED
  const std::array<float, 8> x{};
#else
  const std::array<float, 7> x{};
#endif
  return model(x)[0] > 0 ? 1 : 0;
}
