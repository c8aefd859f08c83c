// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <lockstep/core/config.hpp>

#include <cstdint>
#include <string>
#include <string_view>

#include <cuda_runtime_api.h>

#include <lockstep/core/error.hpp>

namespace lockstep::cuda_backend {

/// `13.0` for the number 13000 that CUDA gives.
[[nodiscard]] inline std::string version_text(int version) {
  return std::to_string(version / 1000) + "." + std::to_string(version % 1000 / 10);
}

/// `driver for CUDA 13.0, runtime 13.0`, or that no driver is installed.
[[nodiscard, gnu::cold]] inline std::string driver_text() {
  int driver = 0;
  int runtime = 0;
  if (cudaDriverGetVersion(&driver) != cudaSuccess) driver = 0;
  if (cudaRuntimeGetVersion(&runtime) != cudaSuccess) runtime = 0;
  static_cast<void>(cudaGetLastError());
  return (driver == 0 ? std::string("driver not installed") : "driver for CUDA " + version_text(driver)) +
         ", runtime " + version_text(runtime);
}

/// `cudaErrorMemoryAllocation (2, out of memory)`.
[[nodiscard, gnu::cold]] inline std::string status_text(cudaError_t status) {
  return std::string(cudaGetErrorName(status)) + " (" + std::to_string(static_cast<int>(status)) + ", " +
         cudaGetErrorString(status) + ")";
}

/// ` on device 0`; empty when CUDA does not tell the device.
[[nodiscard, gnu::cold]] inline std::string device_text() {
  int device = 0;
  if (cudaGetDevice(&device) == cudaSuccess) return " on device " + std::to_string(device);
  static_cast<void>(cudaGetLastError());
  return {};
}

/// `12 of 80 MiB free`.
[[nodiscard, gnu::cold]] inline std::string memory_text() {
  std::size_t free = 0;
  std::size_t total = 0;
  if (cudaMemGetInfo(&free, &total) != cudaSuccess) {
    static_cast<void>(cudaGetLastError());
    return "free memory unknown";
  }
  return std::to_string(free >> 20U) + " of " + std::to_string(total >> 20U) + " MiB free";
}

/// What to do about a status; empty when its name says all there is to say.
[[nodiscard, gnu::cold]] inline std::string advice(cudaError_t status) {
  switch (status) {
    case cudaErrorMemoryAllocation:
      return memory_text() + ": take smaller batches, or end what else uses the device";
    case cudaErrorNoDevice:
    case cudaErrorInsufficientDriver:
    case cudaErrorSystemDriverMismatch:
    case cudaErrorCompatNotSupportedOnDevice:
    case cudaErrorUnsupportedPtxVersion:
      return driver_text() +
             ": install a driver that is as new as the runtime, and see that nvidia-smi lists the device";
    case cudaErrorDevicesUnavailable:
      return "another process has the device for itself, or it is in prohibited mode; see nvidia-smi";
    case cudaErrorNoKernelImageForDevice:
      return "the program was built for other devices: build it with CMAKE_CUDA_ARCHITECTURES set to this one's";
    case cudaErrorInvalidResourceHandle:
      return "the stream belongs to a device that is not current: hold what context::enter() returns";
    case cudaErrorIllegalAddress:
    case cudaErrorMisalignedAddress:
    case cudaErrorLaunchFailure:
    case cudaErrorLaunchTimeout:
    case cudaErrorIllegalInstruction:
    case cudaErrorInvalidAddressSpace:
    case cudaErrorInvalidPc:
    case cudaErrorHardwareStackError:
    case cudaErrorAssert:
      return "work given to the device earlier has failed, and this process cannot use it any more: run under "
             "compute-sanitizer, or with CUDA_LAUNCH_BLOCKING=1, to see which";
    case cudaErrorStreamCaptureUnsupported:
    case cudaErrorStreamCaptureInvalidated:
    case cudaErrorStreamCaptureMerge:
    case cudaErrorStreamCaptureUnmatched:
    case cudaErrorStreamCaptureUnjoined:
    case cudaErrorStreamCaptureIsolation:
    case cudaErrorStreamCaptureImplicit:
    case cudaErrorStreamCaptureWrongThread:
      return "work that is being recorded may not allocate, wait, or depend on streams outside the recording";
    default:
      return {};
  }
}

/// Throws backend_error for a status of the CUDA runtime, and clears it where it can be cleared.
[[noreturn, gnu::cold, gnu::noinline]] inline void fail(cudaError_t status, std::string_view what) {
  static_cast<void>(cudaGetLastError());
  throw backend_error("cuda", what, status_text(status) + device_text(), advice(status));
}

/// Throws backend_error when `status` is not cudaSuccess. `what` names what was attempted, and by which call, as in
/// "a stream (cudaStreamCreateWithFlags)".
inline void check(cudaError_t status, std::string_view what) {
  if (status != cudaSuccess) [[unlikely]]
    fail(status, what);
}

/// The same for an allocation: the message says how many bytes were asked for.
inline void check_memory(cudaError_t status, std::string_view call, std::int64_t bytes) {
  if (status != cudaSuccess) [[unlikely]]
    fail(status, std::to_string(bytes).append(" bytes (").append(call).append(")"));
}

}  // namespace lockstep::cuda_backend
