// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include <string>

#include <lockstep/backend/cuda/cuda.hpp>
#include <lockstep/parallel/data_parallel.hpp>

#include "device.hpp"
#include "golden/graphs.hpp"

namespace {

using namespace lockstep_test;

template <class Model>
void check_model(const std::string& name) {
  check_golden_graph<ls::data_parallel<Model, 1, ls::cuda>>(name, 1e-5);
  check_golden_graph<ls::data_parallel<Model, 3, ls::cuda>>(name, 1e-5);
}

}  // namespace

TEST_CASE("a residual network trains as in PyTorch on a device", "[golden][graph]") {
  LOCKSTEP_NEEDS_DEVICE();
  check_model<golden_residual>("residual");
}

TEST_CASE("a network of nested concats trains as in PyTorch on a device", "[golden][graph]") {
  LOCKSTEP_NEEDS_DEVICE();
  check_model<golden_unet>("unet");
}

TEST_CASE("a network of tied layers trains as in PyTorch on a device", "[golden][graph]") {
  LOCKSTEP_NEEDS_DEVICE();
  check_model<golden_tied>("tied");
}
