// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "golden/autocast.hpp"

#include <lockstep/backend/cpu/bf16/cpu_bf16.hpp>

#include "support/catch.hpp"

using namespace lockstep_test;

TEST_CASE("models in bfloat16 on the CPU train as under PyTorch's autocast within the rounding", "[golden][bf16]") {
  if (!ls::cpu_backend::bf16::is_supported()) LOCKSTEP_SKIP("this machine has no AVX512_BF16");
  check_autocast<ls::cpu>({.outputs = 2e-2, .gradients = 2e-2, .losses = 2e-2});
}
