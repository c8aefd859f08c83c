// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// expect: lockstep: inference: it has no kernel for this layer (Layer)
#include <vector>

#include <lockstep/inference.hpp>

namespace ls = lockstep;

#ifdef LOCKSTEP_TEST_FIXED
using wider = ls::upsample<2>;
#else
using wider = ls::conv_transpose2d<2, 2, ls::stride<2>>;
#endif
using decoder = ls::model<ls::sequential<wider, ls::relu, ls::conv2d<1, 3>>, ls::input<2, 4, 4>>;

int main() {
  const std::vector<float> state(ls::inference<decoder>::state_size);
  const ls::inference<decoder> model(state);
  return model(std::vector<float>(32))[0] > 0 ? 1 : 0;
}
