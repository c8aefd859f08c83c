// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <lockstep/core/config.hpp>

#include <cstddef>
#include <cstdint>
#include <type_traits>

#include <cuda_runtime_api.h>

#include <lockstep/backend/cuda/context.hpp>
#include <lockstep/backend/cuda/memory.hpp>
#include <lockstep/backend/cuda/status.hpp>
#include <lockstep/backend/cuda/stream.hpp>

/// \file
/// Copies between host and device, and order between the work of two contexts.

namespace lockstep::cuda_backend {

/// Copies n elements from `from` to `to`, each in any device's memory or the host's. Host memory may be read or reused
/// once the context has finished. It may be pageable, though not in work that is recorded for a graph.
template <class T>
void copy(context& c, std::int64_t n, const T* from, T* to) {
  static_assert(std::is_trivially_copyable_v<T>);
  if (n > 0)
    check(cudaMemcpyAsync(to, from, static_cast<std::size_t>(n) * sizeof(T), cudaMemcpyDefault, c.stream()),
          "a copy (cudaMemcpyAsync)");
}

/// Copies `rows` rows of `width` elements within the device's memory; rows begin `from_stride` and `to_stride` elements
/// apart.
template <class T>
void copy_rows(context& c, std::int64_t rows, std::int64_t width, const T* from, std::int64_t from_stride, T* to,
               std::int64_t to_stride) {
  static_assert(std::is_trivially_copyable_v<T>);
  const auto bytes = [](std::int64_t n) { return static_cast<std::size_t>(n) * sizeof(T); };
  if (rows > 0 && width > 0)
    check(cudaMemcpy2DAsync(to, bytes(to_stride), from, bytes(from_stride), bytes(width),
                            static_cast<std::size_t>(rows), cudaMemcpyDeviceToDevice, c.stream()),
          "a copy of rows (cudaMemcpy2DAsync)");
}

/// Sets n elements of the device's memory to zero.
template <class T>
void clear(context& c, std::int64_t n, T* to) {
  static_assert(std::is_trivially_copyable_v<T>);
  if (n > 0)
    check(cudaMemsetAsync(to, 0, static_cast<std::size_t>(n) * sizeof(T), c.stream()), "zeros (cudaMemsetAsync)");
}

/// n zeros in the memory of the context's device. Waits for the context's work.
template <class T>
[[nodiscard]] buffer<T> allocate(context& c, std::int64_t n) {
  const device_scope here(c.device());
  buffer<T> fresh(n);
  clear(c, n, fresh.data());
  c.finish();  // so that every other stream, too, finds the zeros
  return fresh;
}

/// One T on the host and one on the device, T{} at first. All copies between them go through one context.
template <class T>
class mirrored {
 public:
  explicit mirrored(context& c) : host_value_(c.device()), device_value_(allocate<T>(c, 1)), copied_(c.device()) {
    send(c);
    c.finish();
  }

  /// The host's T. Waits for the last `send` or `fetch`, so that the copy and the caller do not use it at the same
  /// time. Does not wait for a copy that was recorded for a graph: finish the context for that.
  [[nodiscard]] T& host() noexcept {
    // A failure stays with the device; the call that finishes the context throws it.
    if (under_way_) static_cast<void>(cudaEventSynchronize(copied_.get()));
    under_way_ = false;
    return *host_value_.get();
  }
  /// The device's T.
  [[nodiscard]] T* get() noexcept { return device_value_.data(); }

  /// Copies from the host to the device.
  void send(context& c) { move(c, host_value_.get(), device_value_.data()); }
  /// Copies from the device to the host.
  void fetch(context& c) { fetch_from(c, device_value_.data()); }
  /// Copies from elsewhere on the device to the host.
  void fetch_from(context& c, const T* from) { move(c, from, host_value_.get()); }

 private:
  void move(context& c, const T* from, T* to) {
    copy(c, 1, from, to);
    if (c.recording()) return;
    check(cudaEventRecord(copied_.get(), c.stream()), "the end of a copy (cudaEventRecord)");
    under_way_ = true;
  }

  pinned<T> host_value_;
  buffer<T> device_value_;
  event copied_;
  bool under_way_ = false;
};

/// Bytes on the host and on the device, zero at first, at addresses that are multiples of 256; one copy sends them to
/// the device. Nothing waits for that copy: write the host's bytes again only once the context has finished.
class packet {
 public:
  packet(context& c, std::int64_t size) : host_(c.device(), size), device_(allocate<std::byte>(c, size)) {}

  [[nodiscard]] std::byte* host() noexcept { return host_.get(); }
  [[nodiscard]] std::byte* get() noexcept { return device_.data(); }
  [[nodiscard]] const std::byte* get() const noexcept { return device_.data(); }

  /// Sends the first n bytes.
  void send(context& c, std::int64_t n) { copy<std::byte>(c, n, host_.get(), device_.data()); }

 private:
  pinned<std::byte> host_;
  buffer<std::byte> device_;
};

/// Whether the host can read the memory at p by itself.
[[nodiscard]] inline bool host_reads(const void* p) {
  if (p == nullptr) return true;
  cudaPointerAttributes where{};
  check(cudaPointerGetAttributes(&where, p), "where an address lies (cudaPointerGetAttributes)");
  return where.type != cudaMemoryTypeDevice;
}

/// Order between the work of two contexts. In a recording, a fence takes part only when both contexts record together.
class fence {
 public:
  explicit fence(context& c) : reached_(c.device()) {}

  /// Marks the end of the work that `c`, a context of the fence's device, has been given so far.
  void record(context& c) { check(cudaEventRecord(reached_.get(), c.stream()), "a fence (cudaEventRecord)"); }

  /// Makes the work that `c` is given after this call wait for the last mark of `record`, if there is any.
  void hold(context& c) const {
    check(cudaStreamWaitEvent(c.stream(), reached_.get(), 0), "a fence (cudaStreamWaitEvent)");
  }

 private:
  event reached_;
};

}  // namespace lockstep::cuda_backend
