// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <lockstep/core/config.hpp>

#include <new>
#include <utility>

#include <cuda_runtime_api.h>

#include <lockstep/backend/cuda/device.hpp>
#include <lockstep/backend/cuda/status.hpp>

namespace lockstep::cuda_backend {

/// Of two streams, a device begins the more urgent one's work first, when it could begin either.
enum class urgency { usual, high };

/// Sole owner of a stream of one device. The stream and the device's default stream do not wait for each other.
class stream {
 public:
  explicit stream(int device, urgency how = urgency::usual) : device_(device) {
    const device_scope here(device);
    int least = 0;
    int greatest = 0;
    check(cudaDeviceGetStreamPriorityRange(&least, &greatest),
          "the priorities of streams (cudaDeviceGetStreamPriorityRange)");
    check(cudaStreamCreateWithPriority(&stream_, cudaStreamNonBlocking, how == urgency::high ? greatest : least),
          "a stream (cudaStreamCreateWithPriority)");
  }
  stream(const stream&) = delete;
  stream& operator=(const stream&) = delete;
  ~stream() {
    const device_scope here(device_, std::nothrow);
    static_cast<void>(cudaStreamDestroy(stream_));
  }

  [[nodiscard]] cudaStream_t get() const noexcept { return stream_; }

  /// Waits for all work. Throws backend_error when some of it has failed.
  void finish() const { check(cudaStreamSynchronize(stream_), "the work on a stream to succeed"); }

 private:
  int device_;
  cudaStream_t stream_ = nullptr;
};

/// Sole owner of an event of one device, or of none. The event records no time.
class event {
 public:
  event() = default;
  explicit event(int device) : device_(device) {
    const device_scope here(device);
    check(cudaEventCreateWithFlags(&event_, cudaEventDisableTiming), "an event (cudaEventCreateWithFlags)");
  }
  event(event&& other) noexcept : device_(other.device_), event_(std::exchange(other.event_, nullptr)) {}
  event& operator=(event&& other) noexcept {
    std::swap(device_, other.device_);
    std::swap(event_, other.event_);
    return *this;
  }
  ~event() {
    if (event_ == nullptr) return;
    const device_scope here(device_, std::nothrow);
    static_cast<void>(cudaEventDestroy(event_));
  }

  [[nodiscard]] cudaEvent_t get() const noexcept { return event_; }

 private:
  int device_ = 0;
  cudaEvent_t event_ = nullptr;
};

}  // namespace lockstep::cuda_backend
