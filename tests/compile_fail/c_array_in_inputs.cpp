// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// expect: lockstep: scatter and gather cannot take a struct apart that has a C array
#include <array>

#include <lockstep/lockstep.hpp>

namespace ls = lockstep;

struct inputs {
  ls::batch_view<float, 4> x;
#ifdef LOCKSTEP_TEST_FIXED
  std::array<float, 3> mean;
#else
  float mean[3];
#endif
};

int main() {
  ls::batch_of<float, 4> batch(8);
  inputs all{batch.view(), {1, 2, 3}};
  const auto parts = ls::scatter<2>(all);
  return parts[0].x.extent(0) == 4 ? 0 : 1;
}
