// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// expect: lockstep: inference: carry: a bidirectional layer reads a sequence from its end too, and carries no state
#include <lockstep/inference.hpp>

#include <array>

namespace ls = lockstep;

#ifdef LOCKSTEP_TEST_FIXED
using net = ls::lstm<4>;
#else
using net = ls::lstm<2, ls::bidirectional>;
#endif

void process(const ls::inference<ls::model<net, ls::input<1, 3>>>& model, std::span<float> states) {
  std::array<float, 4> y{};
  model.carry(std::array<float, 3>{}, y, states);
}
