// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <lockstep/core/config.hpp>

#include <cstddef>
#include <cstdint>
#include <new>
#include <string>

#include <cuda.h>
#include <cuda_runtime_api.h>

#include <lockstep/backend/cuda/status.hpp>
#include <lockstep/core/error.hpp>

namespace lockstep::cuda_backend {

/// A sentence that says why no device can be used; empty when one can. Throws no error of CUDA's.
[[nodiscard, gnu::cold]] inline std::string why_no_device() {
  int count = 0;
  const cudaError_t status = cudaGetDeviceCount(&count);
  if (status == cudaSuccess && count > 0) return {};
  static_cast<void>(cudaGetLastError());
  return "no CUDA device was found (" + (status == cudaSuccess ? std::string("of 0") : status_text(status)) + ")";
}

/// The number of devices that this process may use, 1 or more. Throws backend_error when there is none.
[[nodiscard]] inline int device_count() {
  int count = 0;
  if (cudaGetDeviceCount(&count) != cudaSuccess || count < 1) [[unlikely]]
    throw backend_error("cuda", "a CUDA device and its driver", why_no_device(), advice(cudaErrorNoDevice));
  return count;
}

/// Returns `device` when it exists. Throws backend_error when there is no device at all, value_error when there are
/// only others.
inline int checked_device(int device) {
  const int count = device_count();
  if (device < 0 || device >= count) [[unlikely]]
    throw value_error("cuda", "a device from 0 to " + std::to_string(count - 1), std::to_string(device),
                      "CUDA_VISIBLE_DEVICES decides which devices a process sees");
  return device;
}

/// What a device is; memory is in bytes.
struct device_description {
  std::string name;
  int capability = 0;  ///< 90 for compute capability 9.0
  int processors = 0;  ///< streaming multiprocessors
  std::size_t memory = 0;
  std::size_t free_memory = 0;
};

/// Bytes of memory of the current device. Throws backend_error.
[[nodiscard]] inline std::int64_t memory_of_device() {
  std::size_t free = 0;
  std::size_t total = 0;
  check(cudaMemGetInfo(&free, &total), "a device's memory (cudaMemGetInfo)");
  return static_cast<std::int64_t>(total);
}

/// Whether this process works on the device already: whether it has a context there, which takes some hundred megabytes
/// of its memory. True as well where the driver does not tell.
[[nodiscard]] inline bool has_context(int device) noexcept {
  // Looked up, so that programs need not link the driver's library.
  static const auto state_of = []() -> CUresult (*)(CUdevice, unsigned*, int*) {
    void* found = nullptr;
    cudaDriverEntryPointQueryResult result = cudaDriverEntryPointSymbolNotFound;
    constexpr unsigned since = 7000;
    if (cudaGetDriverEntryPointByVersion("cuDevicePrimaryCtxGetState", &found, since, cudaEnableDefault, &result) !=
        cudaSuccess)
      static_cast<void>(cudaGetLastError());
    return result == cudaDriverEntryPointSuccess ? reinterpret_cast<CUresult (*)(CUdevice, unsigned*, int*)>(found)
                                                 : nullptr;
  }();
  unsigned flags = 0;
  int active = 0;
  return state_of == nullptr || state_of(device, &flags, &active) != CUDA_SUCCESS || active != 0;
}

/// Makes the device current that was current before. A device without a context has not been used; then the current
/// device stays, since cudaSetDevice would make a context there.
inline void return_to(int device) noexcept {
  // The next call must not report a failure of a device that this thread did not ask for.
  if (has_context(device) && cudaSetDevice(device) != cudaSuccess) static_cast<void>(cudaGetLastError());
}

/// Makes a device the calling thread's current one, and returns to the one before at the end.
class device_scope {
 public:
  /// Throws backend_error when the device cannot be used.
  explicit device_scope(int device) {
    check(cudaGetDevice(&before_), "the current device (cudaGetDevice)");
    changed_ = before_ != device;
    if (changed_) check(cudaSetDevice(device), "a device to work on (cudaSetDevice)");
  }
  /// For what gives back a device's resources, which a device that has failed does not need.
  device_scope(int device, std::nothrow_t) noexcept {
    changed_ = cudaGetDevice(&before_) == cudaSuccess && before_ != device;
    if (!changed_ || cudaSetDevice(device) == cudaSuccess) return;
    changed_ = false;
    static_cast<void>(cudaGetLastError());
  }
  device_scope(const device_scope&) = delete;
  device_scope& operator=(const device_scope&) = delete;
  ~device_scope() {
    if (changed_) return_to(before_);
  }

 private:
  int before_ = 0;
  bool changed_ = false;
};

/// Describes a device. Throws backend_error when no device can be used, value_error when this one does not exist.
[[nodiscard, gnu::cold]] inline device_description describe_device(int device) {
  const device_scope here(checked_device(device));
  cudaDeviceProp properties{};
  check(cudaGetDeviceProperties(&properties, device), "a device's properties (cudaGetDeviceProperties)");
  device_description d{.name = properties.name,
                       .capability = properties.major * 10 + properties.minor,
                       .processors = properties.multiProcessorCount};
  check(cudaMemGetInfo(&d.free_memory, &d.memory), "a device's memory (cudaMemGetInfo)");
  return d;
}

}  // namespace lockstep::cuda_backend
