// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// expect: lockstep: parameter_groups: a group takes none of the model's parameters that learn
// pattern
#include <lockstep/lockstep.hpp>

namespace ls = lockstep;
using net = ls::sequential<ls::linear<8>, ls::relu, ls::linear<3>>;
using classifier = ls::model<net, ls::input<4>, ls::cross_entropy>;

#ifdef LOCKSTEP_TEST_FIXED
using biases = ls::like<"*.bias">;
#else
using biases = ls::like<"*.bais">;
#endif

int main() {
  ls::data_parallel<classifier, 2, ls::adamw,
                    ls::parameter_groups<ls::parameter_group<biases, ls::weight_decay_times<0>>>>
      t;
}
