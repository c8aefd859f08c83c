// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <cstdint>

#include <cuda/std/tuple>

#include "device_code.hpp"

namespace cub {

/// Stands in for CUB's.
struct DeviceTransform {
  template <class... In, class Out, class Function>
  [[nodiscard]] static cudaError_t Transform(::cuda::std::tuple<In...> in, Out* out, std::int64_t n, Function f,
                                             cudaStream_t stream) {
    constexpr int threads = 256;
    cudaLaunchConfig_t config{};
    config.gridDim = dim3(static_cast<unsigned>((n + threads - 1) / threads));
    config.blockDim = dim3(threads);
    config.stream = stream;
    return ::cuda::std::apply(
        [&](In... from) { return cudaLaunchKernelEx(&config, &element<Function, Out, In...>, n, f, out, from...); },
        in);
  }

 private:
  template <class Function, class Out, class... In>
  static void element(std::int64_t n, Function f, Out* out, In... in) {
    const std::int64_t i = std::int64_t{blockIdx.x} * blockDim.x + threadIdx.x;
    if (i < n) out[i] = f(in[i]...);
  }
};

}  // namespace cub
