// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// expect: lockstep: this backend (B) has not the primitives that this layer or loss (Part) needs
#include <lockstep/backend/reference/reference.hpp>
#include <lockstep/lockstep.hpp>

namespace ls = lockstep;

struct plain : ls::reference<float> {
#ifndef LOCKSTEP_TEST_FIXED
  static void map() = delete;
#endif
};
using net = ls::sequential<ls::linear<4>, ls::gelu<>, ls::linear<2>>;

int main() { ls::data_parallel<ls::model<net, ls::input<3>, ls::cross_entropy>, 2, plain> trainer; }
