// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// expect: lockstep: inference: the model has several inputs or outputs
#include <vector>

#include <lockstep/inference.hpp>
#include <lockstep/nn/from.hpp>

namespace ls = lockstep;

#ifdef LOCKSTEP_TEST_FIXED
using joined = ls::model<ls::sequential<ls::linear<3>>, ls::input<8>>;
#else
using inputs = ls::inputs<ls::named<"a", ls::input<4>>, ls::named<"b", ls::input<4>>>;
using joined = ls::model<ls::sequential<ls::concat<ls::from<"a">, ls::from<"b">>, ls::linear<3>>, inputs>;
#endif

const std::vector<float> state(27);

int main() { const ls::inference<joined> model(state); }
