// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// expect: lockstep: data_parallel: reduce::reproducible cannot add the gradients of tied layers
#include <lockstep/lockstep.hpp>

namespace ls = lockstep;

using shared = ls::tied<"shared", ls::linear<4>>;
#ifdef LOCKSTEP_TEST_FIXED
using net = ls::sequential<ls::batch_norm1d<>, shared, ls::relu, shared>;
#else
using net = ls::sequential<shared, ls::batch_norm1d<>, shared>;
#endif

int main() { ls::data_parallel<ls::model<net, ls::input<4>, ls::cross_entropy>, 2, ls::reduce::reproducible> trainer; }
