// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <lockstep/core/config.hpp>

#include <algorithm>
#include <cstdint>
#include <limits>
#include <string_view>
#include <utility>

#include <cuda_runtime.h>

#include <lockstep/backend/cuda/context.hpp>
#include <lockstep/backend/cuda/status.hpp>

namespace lockstep::cuda_backend {

/// Threads of a block, unless a kernel has a reason for another number.
inline constexpr int block_threads = 256;

/// Blocks for n pieces of work when a block does `each` at a time; at most `most`, whose threads then take further
/// pieces.
[[nodiscard]] constexpr std::int64_t blocks_for(std::int64_t n, std::int64_t each,
                                                std::int64_t most = (std::numeric_limits<std::int32_t>::max)()) {
  return (std::min)((n + each - 1) / each, most);
}

/// Enqueues a kernel on a stream unless `blocks` is 0. Throws backend_error when the kernel cannot start.
template <class... Parameters, class... Arguments>
void launch(cudaStream_t on, std::string_view what, void (*kernel)(Parameters...), std::int64_t blocks, int threads,
            Arguments&&... arguments) {
  if (blocks == 0) return;
  cudaLaunchConfig_t config{};
  config.gridDim = dim3(static_cast<unsigned>(blocks));
  config.blockDim = dim3(static_cast<unsigned>(threads));
  config.stream = on;
  check(cudaLaunchKernelEx(&config, kernel, std::forward<Arguments>(arguments)...), what);
}

/// The same on the context's stream.
template <class... Parameters, class... Arguments>
void launch(context& c, std::string_view what, void (*kernel)(Parameters...), std::int64_t blocks, int threads,
            Arguments&&... arguments) {
  launch(c.stream(), what, kernel, blocks, threads, std::forward<Arguments>(arguments)...);
}

/// Brings a kernel to the current device, which else its first launch does; that may wait for all work of all devices.
/// Throws backend_error.
template <class... Parameters>
[[gnu::cold]] void load(void (*kernel)(Parameters...)) {
  cudaFuncAttributes found{};
  check(cudaFuncGetAttributes(&found, reinterpret_cast<const void*>(kernel)),
        "a kernel on its device (cudaFuncGetAttributes)");
}

}  // namespace lockstep::cuda_backend
