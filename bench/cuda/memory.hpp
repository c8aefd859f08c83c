// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>

#include <cuda_runtime_api.h>

#include <lockstep/backend/cuda/status.hpp>

namespace lockstep_bench {

/// Where a batch lies when a step is called.
enum class placement : std::uint8_t {
  pageable,  ///< in the host's memory, as any program's
  pinned,    ///< in the host's memory, where the device reads it by itself
  device,    ///< samples in the device's memory; targets pinned, since the host reads them too
};

struct free_pinned {
  void operator()(void* memory) const { static_cast<void>(cudaFreeHost(memory)); }
};
struct free_device {
  void operator()(void* memory) const { static_cast<void>(cudaFree(memory)); }
};

template <class T>
using pinned_memory = std::unique_ptr<T[], free_pinned>;
template <class T>
using device_memory = std::unique_ptr<T[], free_device>;

/// Uninitialised memory that the device reads by itself.
template <class T>
[[nodiscard]] pinned_memory<T> allocate_pinned(std::int64_t n) {
  void* memory = nullptr;
  const std::int64_t bytes = n * static_cast<std::int64_t>(sizeof(T));
  lockstep::cuda_backend::check_memory(cudaMallocHost(&memory, static_cast<std::size_t>(bytes)), "cudaMallocHost",
                                       bytes);
  return pinned_memory<T>(static_cast<T*>(memory));
}

/// Uninitialised memory of the current device.
template <class T>
[[nodiscard]] device_memory<T> allocate_device(std::int64_t n) {
  void* memory = nullptr;
  const std::int64_t bytes = n * static_cast<std::int64_t>(sizeof(T));
  lockstep::cuda_backend::check_memory(cudaMalloc(&memory, static_cast<std::size_t>(bytes)), "cudaMalloc", bytes);
  return device_memory<T>(static_cast<T*>(memory));
}

}  // namespace lockstep_bench
