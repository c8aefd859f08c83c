// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// expect: lockstep: muon: it takes none of the model's parameters that learn as a matrix
#include <lockstep/lockstep.hpp>
#include <lockstep/optim/muon.hpp>

namespace ls = lockstep;
using net = ls::sequential<ls::named<"body", ls::linear<8>>, ls::relu, ls::named<"head", ls::linear<3>>>;
using classifier = ls::model<net, ls::input<4>, ls::cross_entropy>;

#ifdef LOCKSTEP_TEST_FIXED
using hidden = ls::all_but<ls::matrices, ls::like<"head.*">>;
#else
using hidden = ls::all_but<ls::matrices, ls::like<"*">>;
#endif

int main() { ls::data_parallel<classifier, 2, ls::muon_for<hidden>> trainer; }
