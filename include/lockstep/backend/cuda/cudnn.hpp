// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <cstdint>
#include <limits>
#include <string>
#include <string_view>

#include <cuda_bf16.h>
#include <cudnn.h>

#include <lockstep/backend/cuda/context.hpp>
#include <lockstep/backend/cuda/device.hpp>
#include <lockstep/backend/cuda/handle.hpp>
#include <lockstep/backend/cuda/status.hpp>
#include <lockstep/backend/geometry.hpp>
#include <lockstep/core/error.hpp>
#include <lockstep/core/shape.hpp>

/// \file
/// Everything that touches cuDNN's own types, but for the calls of one convolution.

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
    check(cudnnCreate(handle_.out()), "a handle (cudnnCreate)");
    check(cudnnSetStream(handle_.get(), c.stream()), "a stream for a handle (cudnnSetStream)");
  }

  [[nodiscard]] cudnnHandle_t handle() const noexcept { return handle_.get(); }

 private:
  cuda_backend::handle<cudnnHandle_t, cudnnDestroy> handle_;
};

using tensor_descriptor = handle<cudnnTensorDescriptor_t, cudnnDestroyTensorDescriptor>;
using filter_descriptor = handle<cudnnFilterDescriptor_t, cudnnDestroyFilterDescriptor>;
using activation_descriptor = handle<cudnnActivationDescriptor_t, cudnnDestroyActivationDescriptor>;
using convolution_descriptor = handle<cudnnConvolutionDescriptor_t, cudnnDestroyConvolutionDescriptor>;

/// What cuDNN calls a type of elements.
template <class T>
inline constexpr cudnnDataType_t cudnn_type = CUDNN_DATA_FLOAT;
template <>
inline constexpr cudnnDataType_t cudnn_type<__nv_bfloat16> = CUDNN_DATA_BFLOAT16;

/// An extent as cuDNN takes it. Throws value_error when it is too large.
[[nodiscard]] inline int cudnn_extent(std::int64_t extent) {
  if (extent > std::numeric_limits<int>::max())
    throw value_error("cuDNN", "extents below 2^31", std::to_string(extent), "take smaller batches");
  return static_cast<int>(extent);
}

/// `count` pictures of (channels, height, width) in the given order.
[[nodiscard, gnu::cold]] inline tensor_descriptor pictures(std::int64_t count, const dims& d, cudnnTensorFormat_t order,
                                                           cudnnDataType_t elements) {
  tensor_descriptor made;
  check(cudnnCreateTensorDescriptor(made.out()), "a tensor (cudnnCreateTensorDescriptor)");
  check(cudnnSetTensor4dDescriptor(made.get(), order, elements, cudnn_extent(count), cudnn_extent(d[0]),
                                   cudnn_extent(d[1]), cudnn_extent(d[2])),
        "pictures (cudnnSetTensor4dDescriptor)");
  return made;
}

/// `count` filters of (channels, height, width) in the given order.
[[nodiscard, gnu::cold]] inline filter_descriptor filters(std::int64_t count, const dims& d, cudnnTensorFormat_t order,
                                                          cudnnDataType_t elements) {
  filter_descriptor made;
  check(cudnnCreateFilterDescriptor(made.out()), "a filter (cudnnCreateFilterDescriptor)");
  check(cudnnSetFilter4dDescriptor(made.get(), elements, order, cudnn_extent(count), cudnn_extent(d[0]),
                                   cudnn_extent(d[1]), cudnn_extent(d[2])),
        "filters (cudnnSetFilter4dDescriptor)");
  return made;
}

/// What follows a convolution in the same call: a relu that is asked to let a NaN through, or nothing.
[[nodiscard, gnu::cold]] inline activation_descriptor activation(bool relu) {
  activation_descriptor made;
  check(cudnnCreateActivationDescriptor(made.out()), "an activation (cudnnCreateActivationDescriptor)");
  check(cudnnSetActivationDescriptor(made.get(), relu ? CUDNN_ACTIVATION_RELU : CUDNN_ACTIVATION_IDENTITY,
                                     CUDNN_PROPAGATE_NAN, 0),
        "an activation (cudnnSetActivationDescriptor)");
  return made;
}

/// How the window of a convolution moves, whose sums are taken in float32. The precision is the caller's to set.
[[nodiscard, gnu::cold]] inline convolution_descriptor window(const convolution_geometry& g) {
  convolution_descriptor made;
  check(cudnnCreateConvolutionDescriptor(made.out()), "a convolution (cudnnCreateConvolutionDescriptor)");
  check(cudnnSetConvolution2dDescriptor(made.get(), cudnn_extent(g.padding.height), cudnn_extent(g.padding.width),
                                        cudnn_extent(g.stride.height), cudnn_extent(g.stride.width),
                                        cudnn_extent(g.dilation.height), cudnn_extent(g.dilation.width),
                                        CUDNN_CROSS_CORRELATION, CUDNN_DATA_FLOAT),
        "a convolution's window (cudnnSetConvolution2dDescriptor)");
  check(cudnnSetConvolutionGroupCount(made.get(), cudnn_extent(g.groups)),
        "a convolution's groups (cudnnSetConvolutionGroupCount)");
  return made;
}

}  // namespace lockstep::cuda_backend
