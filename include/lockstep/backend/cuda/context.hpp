// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <lockstep/core/config.hpp>

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include <cuda_runtime_api.h>

#include <lockstep/backend/cuda/device.hpp>
#include <lockstep/backend/cuda/memory.hpp>
#include <lockstep/backend/cuda/status.hpp>
#include <lockstep/backend/cuda/stream.hpp>
#include <lockstep/backend/replica_place.hpp>
#include <lockstep/core/error.hpp>

namespace lockstep::cuda_backend {

/// What one replica keeps for its whole life: its device, its stream, and what libraries need to work on the device.
/// Only one thread at a time may use it.
class context {
 public:
  /// Throws backend_error when no device can be used, value_error when `place.device` does not exist.
  [[gnu::cold]] explicit context(const replica_place& place = {})
      : device_(checked_device(place.device)), stream_(device_), rounding_(place.rounding) {}
  context(const context&) = delete;
  context& operator=(const context&) = delete;
  /// Waits for the work that was given to it.
  ~context() {
    try {
      const device_scope here(device_);
      static_cast<void>(cudaStreamSynchronize(stream_.get()));
      while (!libraries_.empty()) libraries_.pop_back();
    } catch (const error&) {  // a device that has failed: what it held is lost anyway
      libraries_.clear();
    }
  }

  [[nodiscard]] int device() const noexcept { return device_; }
  [[nodiscard]] cudaStream_t stream() const noexcept { return stream_.get(); }

  /// Makes the context's device the thread's current one; held by whoever gives work to the context.
  [[nodiscard]] device_scope enter() const { return device_scope(device_); }

  /// Waits for all work. Throws backend_error when some of it has failed.
  void finish() const { stream_.finish(); }

  /// What matrix products and convolutions may round their factors to.
  [[nodiscard]] factor_rounding rounding() const noexcept { return rounding_; }
  void rounding(factor_rounding allowed) noexcept { rounding_ = allowed; }

  /// Whether work is being recorded for a graph.
  [[nodiscard]] bool recording() const {
    cudaStreamCaptureStatus status = cudaStreamCaptureStatusNone;
    check(cudaStreamIsCapturing(stream_.get(), &status), "the state of a stream (cudaStreamIsCapturing)");
    return status != cudaStreamCaptureStatusNone;
  }

  /// `bytes` bytes of the device's memory, aligned to 256, valid until the next call: a primitive may keep what it
  /// has computed there while it runs. The memory grows when a primitive asks for more than before. Throws
  /// backend_error when it would grow while work is being recorded; run that work once before it is recorded.
  [[nodiscard]] void* workspace(std::int64_t bytes) {
    if (bytes > workspace_.size()) [[unlikely]]
      grow(bytes);
    return workspace_.data();
  }
  /// Changes whenever the workspace moves: recorded work must then be recorded anew.
  [[nodiscard]] std::uint64_t workspace_moves() const noexcept { return workspace_moves_; }

  /// The T of this context, made by T(context&) in the first call and kept for the context's life. Such objects end in
  /// the reverse order of their making.
  template <class T>
  [[nodiscard]] T& library() {
    for (const auto& one : libraries_)
      if (one->key == &key_of<T>) return static_cast<owner<T>&>(*one).value;
    auto made = std::make_unique<owner<T>>(*this);
    T& value = made->value;
    libraries_.push_back(std::move(made));
    return value;
  }

 private:
  struct any_owner {
    explicit any_owner(const char* k) : key(k) {}
    any_owner(const any_owner&) = delete;
    any_owner& operator=(const any_owner&) = delete;
    virtual ~any_owner() = default;
    const char* key;  ///< its address stands for the type
  };
  template <class T>
  struct owner final : any_owner {
    explicit owner(context& c) : any_owner(&key_of<T>), value(c) {}
    T value;
  };
  template <class T>
  static constexpr char key_of = 0;

  [[gnu::cold, gnu::noinline]] void grow(std::int64_t bytes) {
    constexpr std::int64_t unit = std::int64_t{2} << 20U;  // what the driver hands out at a time
    if (recording())
      throw backend_error("cuda", "a workspace of " + std::to_string(workspace_.size()) + " bytes while recording",
                          "a demand for " + std::to_string(bytes) + " bytes",
                          "run the same work once before it is recorded");
    const device_scope here(device_);
    finish();
    workspace_ = {};
    ++workspace_moves_;
    workspace_ = buffer<std::byte>((bytes + unit - 1) / unit * unit);
  }

  int device_;
  cuda_backend::stream stream_;
  buffer<std::byte> workspace_;
  std::uint64_t workspace_moves_ = 0;
  factor_rounding rounding_ = factor_rounding::none;
  std::vector<std::unique_ptr<any_owner>> libraries_;
};

}  // namespace lockstep::cuda_backend
