// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// expect: lockstep: embedded_state: it takes what lockstep-embed writes
#include <array>

#include <lockstep/inference.hpp>

namespace ls = lockstep;

constexpr std::array<float, 8> values{};
using net = ls::model<ls::sequential<ls::linear<2>>, ls::input<3>>;

int main() {
#ifdef LOCKSTEP_TEST_FIXED
  const ls::inference<net> model(values);
#else
  const ls::inference<net> model(ls::embedded_state<net>(values));
#endif
  return model(std::array{1.F, 2.F, 3.F})[0] > 0 ? 1 : 0;
}
