// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

// Steps in bfloat16, on processors with AVX512_BF16; on others it ends with one sentence: see step_time.hpp.

#include <lockstep/cpu_bf16.hpp>

#include "step_time.hpp"

int main(int argc, char** argv) { return lockstep_bench::time_case<lockstep::precision::bf16>(argc, argv); }
