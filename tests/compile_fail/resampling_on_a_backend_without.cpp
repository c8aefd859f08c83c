// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// expect: has not the primitives that this layer or loss (Part) needs
#include <lockstep/backend/reference/reference.hpp>
#include <lockstep/lockstep.hpp>

namespace ls = lockstep;

struct plain : ls::reference<float> {
#ifndef LOCKSTEP_TEST_FIXED
  using resampling = void;
#endif
};
using net = ls::sequential<ls::upsample<2>, ls::flatten, ls::linear<2>>;

int main() { ls::data_parallel<ls::model<net, ls::input<1, 3, 3>, ls::cross_entropy>, 2, plain> trainer; }
