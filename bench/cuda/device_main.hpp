// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <benchmark/benchmark.h>

#include <cstdio>
#include <string>

#include <lockstep/backend/cuda/device.hpp>

namespace lockstep_bench {

/// Google Benchmark's main for what runs on a GPU: without one it is a line on stderr and exit code 2.
template <class F>
int device_main(int argc, char** argv, const F& register_all) {
  benchmark::Initialize(&argc, argv);
  if (benchmark::ReportUnrecognizedArguments(argc, argv)) return 2;
  namespace cuda = lockstep::cuda_backend;
  if (const std::string why = cuda::why_no_device(); !why.empty()) {
    std::fprintf(stderr, "%s: %s; %s\n", argv[0], why.c_str(), cuda::advice(cudaErrorNoDevice).c_str());
    return 2;
  }
  benchmark::AddCustomContext("device", cuda::describe_device(0).name);
  register_all();
  benchmark::RunSpecifiedBenchmarks();
  benchmark::Shutdown();
  return 0;
}

}  // namespace lockstep_bench
