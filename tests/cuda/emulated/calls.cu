// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include <cstdint>

#include <lockstep/backend/cuda/cuda.hpp>
#include <lockstep/parallel/data_parallel.hpp>

#include "device.hpp"
#include "training.hpp"

/// \file
/// What only the emulation can count.

namespace {

using namespace lockstep_test;

/// Pieces of work that streams are given by a step of a size met before.
template <class Model>
std::uint64_t work_of_step(std::int64_t samples) {
  ls::data_parallel<Model, 1, ls::cuda> trainer(with_momentum);
  const floats x = draws(1, samples * Model::input_dims.size());
  const floats targets = draws(2, samples * Model::output_dims.size());
  const auto step = [&] { return trainer.step(batch<Model>(x), targets); };
  for (int i = 0; i < 4; ++i) step();
  const std::uint64_t before = emulated::given_work();
  step();
  return emulated::given_work() - before;
}

}  // namespace

TEST_CASE("a step of a small batch is one launch, one of a large batch a copy more for each large part", "[calls]") {
  LOCKSTEP_NEEDS_DEVICE();
  CHECK(work_of_step<regression>(16) == 1);
  CHECK(work_of_step<regression>(3000) == 1);   // 60 kB of images
  CHECK(work_of_step<regression>(4000) == 2);   // 80 kB
  CHECK(work_of_step<regression>(10000) == 3);  // 120 kB of targets
}
