// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// expect: lockstep: images: the view reads them through an accessor of its own
#include <cstddef>
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
using accessor = ::cuda::std::default_accessor<const float>;
#else
struct accessor : ::cuda::std::default_accessor<const float> {  // the elements in pairs
  using offset_policy = accessor;
  constexpr reference access(data_handle_type p, std::size_t i) const noexcept { return p[2 * i]; }
};
#endif

using extents = ::cuda::std::dextents<std::int64_t, 2>;
const ::cuda::std::mdspan<const float, extents, ::cuda::std::layout_right, accessor> images(values.data(), 6, 4);

int main() {
  ls::data_parallel<classifier, 2> trainer;
  return trainer.step(images, labels) > 0 ? 0 : 1;
}
