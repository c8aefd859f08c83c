// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// expect: lockstep: images: they do not lie in row-major order
#include <cstdint>
#include <vector>

#include <cuda/std/mdspan>

#include <lockstep/lockstep.hpp>

namespace ls = lockstep;
using net = ls::sequential<ls::linear<8>, ls::relu, ls::linear<3>>;
using classifier = ls::model<net, ls::input<4>, ls::cross_entropy>;
const std::vector<std::int64_t> labels(6);
const std::vector<float> values(24);

#ifdef LOCKSTEP_TEST_FIXED
using layout = ::cuda::std::layout_right;
#else
using layout = ::cuda::std::layout_left;
#endif

const ::cuda::std::mdspan<const float, ::cuda::std::dextents<std::int64_t, 2>, layout> images(values.data(), 6, 4);

int main() {
  ls::data_parallel<classifier, 2> trainer;
  return trainer.step(images, labels) > 0 ? 0 : 1;
}
