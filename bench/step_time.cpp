// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

// Steps in float32: see step_time.hpp.

#include "step_time.hpp"

int main(int argc, char** argv) { return lockstep_bench::time_case<lockstep::precision::fp32>(argc, argv); }
