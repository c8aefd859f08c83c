// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// expect: lockstep: sum, residual, concat, outputs: this backend (B) cannot join values
#include <cstdint>

#include <lockstep/backend/reference/reference.hpp>
#include <lockstep/lockstep.hpp>

namespace ls = lockstep;

/// A backend without the primitives that join values.
struct own : ls::reference<float> {
#ifndef LOCKSTEP_TEST_FIXED
  static void sum(context&, std::int64_t, const float*, const float*, bool, float*) = delete;
#endif
};
using classifier =
    ls::model<ls::sequential<ls::residual<ls::linear<4>>, ls::linear<3>>, ls::input<4>, ls::cross_entropy>;

int main() { ls::data_parallel<classifier, 1, own> trainer; }
