// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// expect: lockstep: this backend (B) has not the primitives that this layer or loss (Part) needs
#include <lockstep/backend/reference/reference.hpp>
#include <lockstep/lockstep.hpp>

namespace ls = lockstep;

struct plain : ls::reference<float> {
#ifndef LOCKSTEP_TEST_FIXED
  static void element_loss() = delete;
#endif
};
using regression = ls::model<ls::sequential<ls::linear<3>>, ls::input<4>, ls::huber>;

int main() { ls::data_parallel<regression, 2, plain> trainer; }
