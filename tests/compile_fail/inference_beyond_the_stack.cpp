// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// expect: lockstep: inference: the values between the layers of this model take more than the 64 KB
#include <vector>

#include <lockstep/inference.hpp>

namespace ls = lockstep;

using pictures =
    ls::model<ls::sequential<ls::conv2d<32, 3>, ls::relu, ls::flatten, ls::linear<2>>, ls::input<3, 64, 64>>;

int main() {
  const std::vector<float> state(ls::inference<pictures>::state_size);
  const ls::inference<pictures> model(state);
  const std::vector<float> pixels(3 * 64 * 64);
  std::vector<float> scores(2);
#ifdef LOCKSTEP_TEST_FIXED
  std::vector<float> workspace(ls::inference<pictures>::workspace_size);
  model(pixels, scores, workspace);
#else
  model(pixels, scores);
#endif
  return scores[0] > 0 ? 1 : 0;
}
