// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <math.h>

#include "kernel.hpp"

/// \file
/// What a C++ compiler needs to read device code, which then runs on the host: first in every source. Kernels are
/// functions, shared memory is static because one block runs at a time, and a launch keeps its arguments until the
/// stream comes to it.

#undef __host__
#undef __device__
#undef __global__
#undef __shared__
#undef __launch_bounds__
#define __host__
#define __device__
#define __global__
#define __shared__ static
#define __launch_bounds__(...)

#define __syncthreads() ::emulated::block_barrier()
#define __syncwarp() ::emulated::warp_barrier()
#define __shfl_sync(mask, value, lane) ::emulated::shuffled(value, lane)
#define cudaLaunchKernelEx ::emulated::launch_kernel

template <class T>
constexpr T min(T a, T b) {
  return b < a ? b : a;
}
template <class T>
constexpr T max(T a, T b) {
  return a < b ? b : a;
}
