// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// expect: lockstep: targets: the view reads them through an accessor of its own
#include <cstddef>
#include <cstdint>
#include <vector>

#include <cuda/std/mdspan>

#include <lockstep/lockstep.hpp>

namespace ls = lockstep;
using net = ls::sequential<ls::linear<8>, ls::relu, ls::linear<3>>;
using classifier = ls::model<net, ls::input<4>, ls::cross_entropy>;
const std::vector<std::int64_t> values(6);
const std::vector<float> images(24);

#ifdef LOCKSTEP_TEST_FIXED
using accessor = ::cuda::std::default_accessor<const std::int64_t>;
#else
struct accessor : ::cuda::std::default_accessor<const std::int64_t> {  // the elements in pairs
  using offset_policy = accessor;
  constexpr reference access(data_handle_type p, std::size_t i) const noexcept { return p[2 * i]; }
};
#endif

using extents = ::cuda::std::dextents<std::int64_t, 1>;
const ::cuda::std::mdspan<const std::int64_t, extents, ::cuda::std::layout_right, accessor> labels(values.data(), 6);

int main() {
  ls::data_parallel<classifier, 2> trainer;
  return trainer.step(images, labels) > 0 ? 0 : 1;
}
