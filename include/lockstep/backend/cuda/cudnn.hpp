// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <lockstep/core/config.hpp>

#include <mutex>
#include <string>
#include <string_view>

#include <cuda_bf16.h>
#include <cudnn.h>

#include <lockstep/backend/cuda/context.hpp>
#include <lockstep/backend/cuda/device.hpp>
#include <lockstep/backend/cuda/handle.hpp>
#include <lockstep/backend/cuda/status.hpp>
#include <lockstep/core/error.hpp>

/// \file
/// What all users of cuDNN share: its statuses, its handle, its names for types.

namespace lockstep::cuda_backend {

[[noreturn, gnu::cold, gnu::noinline]] inline void fail(cudnnStatus_t status, std::string_view what) {
  char said[512] = {};
  cudnnGetLastErrorString(said, sizeof(said));
  const bool memory = status == CUDNN_STATUS_INTERNAL_ERROR_DEVICE_ALLOCATION_FAILED;
  const bool place = status == CUDNN_STATUS_NOT_INITIALIZED || status == CUDNN_STATUS_NOT_SUPPORTED_ARCH_MISMATCH ||
                     status == CUDNN_STATUS_SUBLIBRARY_LOADING_FAILED;
  throw backend_error(
      "cuDNN", what,
      std::string(cudnnGetErrorString(status)) + " (" + std::to_string(static_cast<int>(status)) + ", cuDNN " +
          std::to_string(cudnnGetVersion()) + ")" + device_text() + (said[0] == '\0' ? "" : std::string(": ") + said),
      memory  ? memory_text() + ": take smaller batches, or end what else uses the device"
      : place ? driver_text() + ": see that all libraries of this cuDNN are found, and support the device"
              : std::string());
}

/// Throws backend_error, naming what was attempted, unless `status` tells of success.
inline void check(cudnnStatus_t status, std::string_view what) {
  if (status != CUDNN_STATUS_SUCCESS) [[unlikely]]
    fail(status, what);
}

/// A context's cuDNN handle, which works on the context's stream.
class cudnn_library {
 public:
  [[gnu::cold]] explicit cudnn_library(context& c) {
    const device_scope here(c.device());
    create();
    check(cudnnSetStream(handle_.get(), c.stream()), "a stream for a handle (cudnnSetStream)");
  }

  [[nodiscard]] cudnnHandle_t handle() const noexcept { return handle_.get(); }

 private:
  /// Runs in one thread at a time: cuDNN's manual asks for that at least in the first call, which sets it up.
  void create() {
    static std::mutex one_at_a_time;
    const std::lock_guard lock(one_at_a_time);
    check(cudnnCreate(handle_.out()), "a handle (cudnnCreate)");
  }

  cuda_backend::handle<cudnnHandle_t, cudnnDestroy> handle_;
};

/// What cuDNN calls a type of elements.
template <class T>
inline constexpr cudnnDataType_t cudnn_type = CUDNN_DATA_FLOAT;
template <>
inline constexpr cudnnDataType_t cudnn_type<__nv_bfloat16> = CUDNN_DATA_BFLOAT16;

}  // namespace lockstep::cuda_backend
