// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <new>
#include <tuple>
#include <utility>

#include <driver_types.h>

// The toolkit declares them constant.
#define threadIdx constant_threadIdx
#define blockIdx constant_blockIdx
#define blockDim constant_blockDim
#define gridDim constant_gridDim
#include <device_launch_parameters.h>
#undef threadIdx
#undef blockIdx
#undef blockDim
#undef gridDim
#include <cuda_runtime.h>

/// \file
/// How device code that the host runs is launched, and what it asks for while it runs.

/// Where the kernel that runs now stands.
extern uint3 threadIdx;
extern uint3 blockIdx;
extern dim3 blockDim;
extern dim3 gridDim;

namespace emulated {

/// Returns when all threads of the block, or of the warp, that have not ended have called it.
void block_barrier();
void warp_barrier();
/// Writes the value that `lane` of this warp has brought over one's own.
void shuffle(void* value, std::size_t size, int lane);

/// What is launched, in memory of the emulation's own.
struct kernel_call {
  const void* kernel;
  void (*run)(void*);
  void (*destroy)(void*);
  void* arguments;
};
[[nodiscard]] void* room_for_arguments(std::size_t size);
[[nodiscard]] cudaError_t launch(const cudaLaunchConfig_t& config, const kernel_call& call);

/// Pieces of work that all streams have been given until now, a graph being one.
[[nodiscard]] std::uint64_t given_work();

template <class... Parameters, class... Arguments>
[[nodiscard]] cudaError_t launch_kernel(const cudaLaunchConfig_t* config, void (*kernel)(Parameters...),
                                        Arguments&&... arguments) {
  struct bound {
    void (*kernel)(Parameters...);
    std::tuple<Parameters...> arguments;
  };
  void* room = room_for_arguments(sizeof(bound));
  ::new (room) bound{kernel, std::tuple<Parameters...>(std::forward<Arguments>(arguments)...)};
  return launch(*config,
                {.kernel = reinterpret_cast<const void*>(kernel),
                 .run = [](void* b) { std::apply(static_cast<bound*>(b)->kernel, static_cast<bound*>(b)->arguments); },
                 .destroy = [](void* b) { std::destroy_at(static_cast<bound*>(b)); },
                 .arguments = room});
}

template <class T>
[[nodiscard]] T shuffled(T value, int lane) {
  shuffle(&value, sizeof(value), lane);
  return value;
}

}  // namespace emulated
