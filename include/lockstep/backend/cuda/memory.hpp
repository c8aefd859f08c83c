// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <lockstep/core/config.hpp>

#include <cstddef>
#include <cstdint>
#include <memory>
#include <new>
#include <string>
#include <type_traits>
#include <utility>

#include <cuda_runtime_api.h>

#include <lockstep/backend/cuda/device.hpp>
#include <lockstep/backend/cuda/status.hpp>
#include <lockstep/core/error.hpp>
#include <lockstep/core/shape.hpp>

namespace lockstep::cuda_backend {

/// Gives device memory back to where it came from.
using memory_release = void (*)(void*) noexcept;

inline void release_memory(void* memory) noexcept { static_cast<void>(cudaFree(memory)); }

/// The calling thread's current device. Throws backend_error.
[[nodiscard]] inline int current_device() {
  int device = 0;
  check(cudaGetDevice(&device), "the current device (cudaGetDevice)");
  return device;
}

/// Sole owner of `size` elements in the current device's memory, aligned to 256 bytes and not initialised. The
/// destructor waits until the device is idle.
template <class T>
class buffer {
  static_assert(std::is_trivially_copyable_v<T>, "lockstep: cuda: device memory holds trivially copyable elements");

 public:
  buffer() = default;
  /// Throws shape_error when `size` is negative or its byte count overflows; backend_error, which says how much is
  /// free, when there is not enough memory.
  explicit buffer(std::int64_t size) : size_(size), device_(current_device()) {
    if (size < 0) throw shape_error("cuda", "a buffer of zero elements or more", std::to_string(size));
    if (size == 0) return;
    const std::int64_t bytes = checked_multiply(size, sizeof(T));
    void* memory = nullptr;
    check_memory(cudaMalloc(&memory, static_cast<std::size_t>(bytes)), "cudaMalloc", bytes);
    data_ = static_cast<T*>(memory);
  }
  /// Takes over memory of a device from an allocator other than CUDA's; `release` gives it back.
  buffer(T* data, std::int64_t size, int device, memory_release release) noexcept
      : data_(data), size_(size), device_(device), release_(release) {}
  buffer(buffer&& other) noexcept
      : data_(std::exchange(other.data_, nullptr)),
        size_(std::exchange(other.size_, 0)),
        device_(other.device_),
        release_(other.release_) {}
  buffer& operator=(buffer&& other) noexcept {
    buffer(std::move(other)).swap(*this);  // frees at once, so that a new buffer can have the room
    return *this;
  }
  ~buffer() {
    if (data_ == nullptr) return;
    const device_scope here(device_, std::nothrow);
    release_(data_);
  }

  [[nodiscard]] T* data() noexcept { return data_; }
  [[nodiscard]] const T* data() const noexcept { return data_; }
  [[nodiscard]] std::int64_t size() const noexcept { return size_; }

 private:
  void swap(buffer& other) noexcept {
    std::swap(data_, other.data_);
    std::swap(size_, other.size_);
    std::swap(device_, other.device_);
    std::swap(release_, other.release_);
  }

  T* data_ = nullptr;
  std::int64_t size_ = 0;
  int device_ = 0;
  memory_release release_ = &release_memory;
};

/// Sole owner of `size` times T{} in host memory that a device reaches by itself: copies from and to it do not hold up
/// the host. The destructor waits until the device is idle.
template <class T>
class pinned {
  static_assert(std::is_trivially_copyable_v<T>, "lockstep: cuda: what is copied to a device is trivially copyable");

 public:
  explicit pinned(int device, std::int64_t size = 1) : device_(device) {
    const device_scope here(device);
    const std::int64_t bytes = checked_multiply(size, sizeof(T));
    void* memory = nullptr;
    check_memory(cudaMallocHost(&memory, static_cast<std::size_t>(bytes)), "cudaMallocHost", bytes);
    value_ = static_cast<T*>(memory);
    std::uninitialized_value_construct_n(value_, size);
  }
  pinned(pinned&& other) noexcept : value_(std::exchange(other.value_, nullptr)), device_(other.device_) {}
  pinned& operator=(pinned&& other) noexcept {
    std::swap(value_, other.value_);
    std::swap(device_, other.device_);
    return *this;
  }
  ~pinned() {
    if (value_ == nullptr) return;
    const device_scope here(device_, std::nothrow);
    static_cast<void>(cudaFreeHost(value_));
  }

  [[nodiscard]] T* get() const noexcept { return value_; }

 private:
  T* value_ = nullptr;
  int device_ = 0;
};

}  // namespace lockstep::cuda_backend
