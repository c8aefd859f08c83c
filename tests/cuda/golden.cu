// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include <string>

#include <lockstep/backend/cuda/cuda.hpp>
#include <lockstep/optim/sgd.hpp>
#include <lockstep/parallel/data_parallel.hpp>

#include "device.hpp"
#include "golden/golden.hpp"
#include "networks.hpp"

namespace {

using namespace lockstep_test;

/// Sums are added in another order than PyTorch's, and over 20 steps what that changes grows.
constexpr double tolerance = 1e-4;

template <class Model, int... N>
void check_model(const std::string& name, const ls::sgd& optimizer) {
  (check_golden_batches<ls::data_parallel<Model, N, ls::cuda>>(name, optimizer, tolerance), ...);
}

}  // namespace

TEST_CASE("linear trains as in PyTorch on a device", "[golden]") {
  LOCKSTEP_NEEDS_DEVICE();
  check_model<golden_linear, 1, 2, 4>("linear", {.learning_rate = 0.01F});
}

TEST_CASE("cnn trains as in PyTorch on a device", "[golden]") {
  LOCKSTEP_NEEDS_DEVICE();
  check_model<golden_cnn, 2>("cnn", {.learning_rate = 0.01F});
}

// A minute each where a host emulates the device.
TEST_CASE("cnn trains as in PyTorch on a device by one replica and by four", "[golden][long]") {
  LOCKSTEP_NEEDS_DEVICE();
  check_model<golden_cnn, 1, 4>("cnn", {.learning_rate = 0.01F});
}

TEST_CASE("mlp trains as in PyTorch on a device", "[golden]") {
  LOCKSTEP_NEEDS_DEVICE();
  check_model<golden_mlp, 1, 2, 4>("mlp", {.learning_rate = 0.05F, .momentum = 0.9F, .weight_decay = 1e-4F});
}
