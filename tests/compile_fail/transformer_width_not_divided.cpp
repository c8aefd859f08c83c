// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// expect: lockstep: transformer_encoder_layer, transformer_decoder_layer: the width, the heads
#include <lockstep/lockstep.hpp>

namespace ls = lockstep;

#ifdef LOCKSTEP_TEST_FIXED
using net = ls::transformer_encoder_layer<12, 4, 16>;
#else
using net = ls::transformer_encoder_layer<12, 5, 16>;
#endif

int main() { ls::data_parallel<ls::model<net, ls::input<3, 12>, ls::mean_squared_error>, 2> trainer; }
