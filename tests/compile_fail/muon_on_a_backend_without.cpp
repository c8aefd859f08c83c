// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// expect: lockstep: muon: this backend (B) cannot multiply matrices of parameters
#include <lockstep/backend/reference/reference.hpp>
#include <lockstep/lockstep.hpp>
#include <lockstep/optim/muon.hpp>

namespace ls = lockstep;

struct plain : ls::reference<float> {
#ifndef LOCKSTEP_TEST_FIXED
  static void multiply() = delete;
#endif
};
using net = ls::sequential<ls::linear<4>, ls::relu, ls::linear<2>>;

int main() { ls::data_parallel<ls::model<net, ls::input<3>, ls::cross_entropy>, 2, plain, ls::muon> trainer; }
