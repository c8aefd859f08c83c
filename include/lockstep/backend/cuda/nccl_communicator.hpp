// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <lockstep/core/config.hpp>

#include <atomic>
#include <mutex>
#include <string>
#include <string_view>
#include <thread>
#include <utility>

#include <nccl.h>

#include <lockstep/backend/cuda/status.hpp>
#include <lockstep/core/error.hpp>

namespace lockstep::cuda_backend {

[[noreturn, gnu::cold, gnu::noinline]] inline void fail(ncclResult_t status, std::string_view what) {
  int version = 0;
  static_cast<void>(ncclGetVersion(&version));
  const char* const last = ncclGetLastError(nullptr);  // NCCL takes no notice of the communicator
  throw backend_error("NCCL", what,
                      std::string(ncclGetErrorString(status)) + " (" + std::to_string(static_cast<int>(status)) +
                          ", NCCL " + std::to_string(version) + ")" + device_text() +
                          (last == nullptr || *last == '\0' ? std::string() : std::string(": ") + last),
                      "run with NCCL_DEBUG=INFO to see what it tried");
}

/// Throws backend_error, naming what was attempted, unless `status` tells of success.
inline void check(ncclResult_t status, std::string_view what) {
  if (status != ncclSuccess) [[unlikely]]
    fail(status, what);
}

/// One rank's communicator. NCCL forbids to abort a communicator that another thread is in a call with. So NCCL gets
/// communicators only while their lock is held, and they are non-blocking: no call waits for other ranks, and what a
/// call has begun is asked after, with the lock free in between. Whoever aborts takes the communicator out under that
/// lock, and then nobody is in a call, or can come into one.
class communicator {
 public:
  communicator() = default;
  communicator(const communicator&) = delete;
  communicator& operator=(const communicator&) = delete;
  ~communicator() { await_closed(); }

  /// Joins `size` ranks as `rank`, on the current device; returns when all have joined. Throws backend_error.
  [[gnu::cold]] void connect(int size, const ncclUniqueId& id, int rank) {
    ncclResult_t status = ncclSuccess;
    {
      const std::lock_guard lock(mutex_);
      refuse_after_abort();
      ncclConfig_t config = NCCL_CONFIG_INITIALIZER;
      config.blocking = 0;
      status = ncclCommInitRankConfig(&communicator_, size, id, rank, &config);
    }
    settle(status, "a communicator between devices (ncclCommInitRankConfig)");
  }

  /// Calls f(communicator), which must not wait for other ranks, and returns when NCCL has done what f has asked for:
  /// a stream has then been given its work. Throws backend_error when f returns a failure, and after an abort.
  template <class F>
  void call(std::string_view what, const F& f) {
    settle(locked(f), what);
  }

  /// What NCCL has noticed since: ncclSuccess, ncclInProgress or a failure. Throws backend_error after an abort.
  [[nodiscard]] ncclResult_t state() {
    return locked([](ncclComm_t c) {
      ncclResult_t found = ncclSuccess;
      check(ncclCommGetAsyncError(c, &found), "a communicator's state (ncclCommGetAsyncError)");
      return found;
    });
  }

  /// Throws backend_error after `refuse`.
  void refuse_after_abort() const {
    if (refused_.load())
      throw backend_error("NCCL", "replicas that all take part", "communicators that were closed after one had failed",
                          "make a new trainer");
  }

  /// From now on all calls throw.
  void refuse() noexcept { refused_.store(true); }

  /// After `refuse`, once: in the background, ends the communicator's work on the device and then the communicator,
  /// which waits until no graph holds its work.
  void close_aborted() noexcept {
    closing_ = std::thread([this] {
      ncclComm_t taken = nullptr;
      {
        const std::lock_guard lock(mutex_);
        taken = std::exchange(communicator_, nullptr);
      }
      if (taken != nullptr) static_cast<void>(ncclCommAbort(taken));
    });
  }
  void await_closed() noexcept {
    if (closing_.joinable()) closing_.join();
  }

  /// Begins the end of a communicator that has not been aborted. All ranks do so before any calls `destroy`.
  void finalize() noexcept {
    if (communicator_ != nullptr) static_cast<void>(ncclCommFinalize(communicator_));
  }
  void destroy() noexcept {
    if (communicator_ == nullptr) return;
    ncclResult_t found = ncclInProgress;
    while (ncclCommGetAsyncError(communicator_, &found) == ncclSuccess && found == ncclInProgress)
      std::this_thread::yield();
    ncclComm_t const taken = std::exchange(communicator_, nullptr);
    // NCCL destroys what works; what has failed it can only abort.
    static_cast<void>(found == ncclSuccess ? ncclCommDestroy(taken) : ncclCommAbort(taken));
  }

 private:
  template <class F>
  ncclResult_t locked(const F& f) {
    const std::lock_guard lock(mutex_);
    refuse_after_abort();
    return f(communicator_);
  }

  /// Waits while NCCL works on what a call has begun.
  void settle(ncclResult_t status, std::string_view what) {
    while (status == ncclInProgress) {
      std::this_thread::yield();
      status = state();
    }
    check(status, what);
  }

  std::mutex mutex_;  ///< held by whoever is in a call with the communicator
  ncclComm_t communicator_ = nullptr;
  std::atomic<bool> refused_{false};
  std::thread closing_;
};

}  // namespace lockstep::cuda_backend
