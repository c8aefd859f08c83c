// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// expect: lockstep: scatter: of views it cuts a cuda::std::mdspan with indices of std::int64_t, a default accessor
#include <cstdint>
#include <vector>

#include <cuda/std/mdspan>

#include <lockstep/lockstep.hpp>

#ifdef LOCKSTEP_TEST_FIXED
using index_type = std::int64_t;
#else
using index_type = int;
#endif

int main() {
  const std::vector<float> values(24);
  const ::cuda::std::mdspan<const float, ::cuda::std::dextents<index_type, 2>> images(values.data(), 6, 4);
  return lockstep::scatter<2>(images)[0].extent(0) == 3 ? 0 : 1;
}
