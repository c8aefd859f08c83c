// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// expect: lockstep: this backend (B) has not the primitives that this layer
#include <lockstep/backend/reference/reference.hpp>
#include <lockstep/lockstep.hpp>

namespace ls = lockstep;

struct plain : ls::reference<float> {
#ifndef LOCKSTEP_TEST_FIXED
  struct attention;
#endif
};
using net = ls::sequential<ls::linear<12>, ls::packed_attention<2>>;

int main() { ls::data_parallel<ls::model<net, ls::input<3, 5>, ls::mean_squared_error>, 2, plain> trainer; }
