// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Kernels with shared memory and barriers, whose PTX check.py has verified; and two that must not pass.
#include <cstdint>

#include <lockstep/backend/cuda/bias.hpp>
#include <lockstep/backend/cuda/sums.hpp>
#include <lockstep/backend/cuda/update.hpp>

namespace ls = lockstep::cuda_backend;

template __global__ void ls::column_sums_kernel<float, false>(std::int64_t, std::int64_t, std::int64_t, const float*,
                                                              float*);
template __global__ void ls::square_sums_kernel<256>(std::int64_t, std::int64_t, std::int64_t, std::int64_t,
                                                     const float*, double*);
template __global__ void ls::piece_sums_kernel<256>(std::int64_t, std::int64_t, const double*, double*);
template __global__ void ls::add_sum_kernel<256>(std::int64_t, const double*, double*);

extern "C" __global__ void divergent_barrier(float* x, std::int64_t n) {
  __shared__ float line[256];
  if (threadIdx.x < n) {
    line[threadIdx.x] = x[threadIdx.x];
    __syncthreads();
  }
  x[threadIdx.x] = line[255 - threadIdx.x];
}

extern "C" __global__ void no_barrier(float* x, std::int64_t) {
  __shared__ float line[256];
  line[threadIdx.x] = x[threadIdx.x];
  x[threadIdx.x] = line[255 - threadIdx.x];
}
