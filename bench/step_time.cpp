// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

// Steps in float32: see step_time.hpp.

#include "step_time.hpp"

namespace bench = lockstep_bench;
using lockstep::adamw;
using lockstep::precision::fp32;

// The cases of tokens are here alone: their layers do not run in bfloat16.
int main(int argc, char** argv) {
  return bench::time_case<fp32>(
      argc, argv, {{"gpt", bench::run<bench::gpt, fp32, adamw>}, {"lstm", bench::run<bench::lstm, fp32, adamw>}});
}
