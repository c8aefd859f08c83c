// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "golden/autocast.hpp"

#include <lockstep/backend/cuda/cuda.hpp>

#include "machine.hpp"
#include "support/catch.hpp"

using namespace lockstep_test;

// As PyTorch does on the CPU, this CUDA adds the bias before it rounds.
TEST_CASE("models in bfloat16 train as under PyTorch's autocast where the same is rounded", "[golden][bf16]") {
  if (!emulated::fuses()) LOCKSTEP_SKIP("products are rounded before their bias is added");
  check_autocast<ls::cuda>({.outputs = 2e-2, .gradients = 2e-2, .losses = 2e-2});
}
