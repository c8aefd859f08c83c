// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <lockstep/core/config.hpp>

#include <algorithm>
#include <array>
#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <exception>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <thread>
#include <type_traits>
#include <utility>

#include <cuda_runtime_api.h>
#include <nccl.h>

#include <lockstep/backend/cuda/context.hpp>
#include <lockstep/backend/cuda/device.hpp>
#include <lockstep/backend/cuda/memory.hpp>
#include <lockstep/backend/cuda/status.hpp>
#include <lockstep/backend/cuda/stream.hpp>
#include <lockstep/backend/cuda/transfer.hpp>
#include <lockstep/backend/cuda/update.hpp>
#include <lockstep/backend/rule.hpp>
#include <lockstep/core/error.hpp>
#include <lockstep/core/with_divisor.hpp>

/// \file
/// Everything that touches NCCL's own types.

namespace lockstep::cuda_backend {

[[noreturn, gnu::cold, gnu::noinline]] inline void fail(ncclResult_t status, std::string_view what,
                                                        const char* last = nullptr) {
  int version = 0;
  static_cast<void>(ncclGetVersion(&version));
  throw backend_error("NCCL", what,
                      std::string(ncclGetErrorString(status)) + " (" + std::to_string(static_cast<int>(status)) +
                          ", NCCL " + std::to_string(version) + ")" + device_text() +
                          (last == nullptr || *last == '\0' ? std::string() : std::string(": ") + last),
                      "run with NCCL_DEBUG=INFO to see what it tried");
}

/// Throws backend_error, naming what was attempted, unless `status` tells of success.
inline void check(ncclResult_t status, std::string_view what, ncclComm_t c = nullptr) {
  if (status != ncclSuccess) [[unlikely]]
    fail(status, what, ncclGetLastError(c));
}

/// Sums over up to N replicas of this process. Each replica has a device to itself and calls from its own thread; all
/// make the same calls in the same order. The sums are plain (an averaging reduction would give up NVLink SHARP). They
/// run on a stream beside the replica's, in the order that NCCL finds best or in a fixed one.
template <std::size_t N>
class collective {
 public:
  collective() = default;
  collective(const collective&) = delete;
  collective& operator=(const collective&) = delete;
  /// The replicas must have dropped their recorded graphs: NCCL waits for graphs that hold its work.
  ~collective() {
    for (std::thread& each : closing_)
      if (each.joinable()) each.join();
    int before = 0;  // NCCL may leave another device current
    const bool known = cudaGetDevice(&before) == cudaSuccess;
    for (std::size_t r = 0; r < N; ++r)
      if (ncclComm_t c = communicators_[r]; c != nullptr) {
        if (registered_[r] != nullptr) static_cast<void>(ncclCommDeregister(c, registered_[r]));
        static_cast<void>(ncclCommDestroy(c));
      }
    if (known) static_cast<void>(cudaSetDevice(before));
  }

  /// Each of `size` replicas, 0 and up, calls this once on its thread; returns when all have. Throws backend_error.
  /// Where a replica throws before all could meet, the others return without having joined.
  [[gnu::cold]] void join(std::size_t r, context& c, std::size_t size = N) {
    std::optional<device_scope> here;
    std::exception_ptr failure;
    try {
      const std::lock_guard lock(mutex_);
      size_ = size;
      here.emplace(c.device());
      sums_[r].emplace(c.device());
      if (!has_id_) check(ncclGetUniqueId(&id_), "an identity for communicators (ncclGetUniqueId)");
      has_id_ = true;
    } catch (...) {
      failure = std::current_exception();
    }
    // Whoever is in ncclCommInitRank waits for all.
    const bool all = agree(!failure);
    if (failure) std::rethrow_exception(failure);
    if (!all) return;
    check(ncclCommInitRank(&communicators_[r], static_cast<int>(size), id_, static_cast<int>(r)),
          "a communicator between devices (ncclCommInitRank)");
  }

  /// Returns n zeros, for values that are to be summed; each replica calls this once on its own thread, after `join`.
  /// The memory comes from NCCL's allocator and is registered, so that NCCL may read and write it in place; that asks
  /// for equal offsets on all replicas. Where either step fails for one replica, all get plain memory, since NCCL
  /// leaves undefined what happens when only some register. The buffers must outlive this object. Throws backend_error
  /// when there is no memory.
  [[nodiscard, gnu::cold]] buffer<float> allocate_shared(std::size_t r, context& c, std::int64_t n) {
    void* memory = nullptr;
    const auto bytes = static_cast<std::size_t>(n) * sizeof(float);
    const auto on_device = [&](const auto& attempt) {
      try {
        const device_scope here(c.device());
        return attempt() == ncclSuccess;
      } catch (const error&) {  // the device has failed; the plain allocation will say so
        return false;
      }
    };
    bool shared = agree(n > 0 && on_device([&] { return ncclMemAlloc(&memory, bytes); }));
    if (shared)
      shared = agree(on_device([&] { return ncclCommRegister(communicators_[r], memory, bytes, &registered_[r]); }));
    if (!shared) {
      if (registered_[r] != nullptr)
        static_cast<void>(ncclCommDeregister(communicators_[r], std::exchange(registered_[r], nullptr)));
      if (memory != nullptr) static_cast<void>(ncclMemFree(memory));
      return allocate<float>(c, n);
    }
    const device_scope here(c.device());
    buffer<float> own(static_cast<float*>(memory), n, [](void* p) noexcept { static_cast<void>(ncclMemFree(p)); });
    clear(c, n, own.data());
    c.finish();
    return own;
  }
  /// Whether what `allocate_shared` gave is registered with NCCL.
  [[nodiscard]] bool has_registered() const noexcept { return registered_[0] != nullptr; }

  /// Enqueues values = the sum of all replicas' n values, after the work that `c` has been given. Work that `c` is
  /// given until `await_sums` may run beside the sum.
  void start_sum(std::size_t r, context& c, std::int64_t n, float* values) {
    side& sums = begin_sum(r, c);
    const in_call call(*this, r);
    check(ncclAllReduce(values, values, static_cast<std::size_t>(n), ncclFloat, ncclSum, call.communicator(),
                        sums.on.get()),
          "a sum over devices to start (ncclAllReduce)", call.communicator());
  }

  /// Makes the work that `c` is given after this call wait for all sums that were started.
  void await_sums(std::size_t r, context& c) {
    side& sums = *sums_[r];
    if (!std::exchange(sums.under_way, false)) return;  // a recording can wait only for what it holds
    check(cudaEventRecord(sums.end.get(), sums.on.get()), "the end of sums over devices (cudaEventRecord)");
    check(cudaStreamWaitEvent(c.stream(), sums.end.get(), 0), "sums over devices (cudaStreamWaitEvent)");
  }

  /// Makes room for `start_ordered_sum` of at most n values. Each replica calls this once on its own thread, after
  /// `join`.
  [[gnu::cold]] void reserve_ordered(std::size_t r, context& c, std::int64_t n) {
    others_[r] = allocate<float>(c, (std::max)((std::min)(n, most_gathered), slice_of(n)) * ranks());
  }

  /// The same as `start_sum`, but each sum is the tree_sum over the replicas in their order. Each replica adds up one
  /// slice and sends its sums to the others, so that as much travels as in an all_reduce. Of few values each replica
  /// adds up all, since a second exchange would take longer.
  void start_ordered_sum(std::size_t r, context& c, std::int64_t n, float* values) {
    if (n == 0) return;
    side& sums = begin_sum(r, c);
    const cudaStream_t on = sums.on.get();
    float* const others = others_[r].data();
    if (n <= most_gathered) {
      {
        const in_call call(*this, r);
        check(ncclAllGather(values, others, static_cast<std::size_t>(n), ncclFloat, call.communicator(), on),
              "a gathering over devices to start (ncclAllGather)", call.communicator());
      }
      return add_in_order(
          on, n, [&](std::int64_t k) { return others + k * n; }, values);
    }
    const auto own = static_cast<std::int64_t>(r);
    const std::int64_t slice = slice_of(n);
    const auto length = [&](std::int64_t k) { return std::clamp<std::int64_t>(n - k * slice, 0, slice); };
    exchange(
        r, on,
        [&](std::int64_t k) {
          return message{values + k * slice, length(k)};
        },
        [&](std::int64_t k) {
          return message{others + k * slice, length(own)};
        });
    add_in_order(
        on, length(own), [&](std::int64_t k) { return k == own ? values + own * slice : others + k * slice; },
        values + own * slice);
    exchange(
        r, on,
        [&](std::int64_t) {
          return message{values + own * slice, length(own)};
        },
        [&](std::int64_t k) {
          return message{values + k * slice, length(k)};
        });
  }

  /// Waits for the replica's work. Throws backend_error when that work or NCCL has failed, on any replica: the
  /// communicators are then closed, and every later call throws.
  void finish(std::size_t r, context& c) {
    for (;;) {
      const cudaError_t status = cudaStreamQuery(c.stream());
      if (status == cudaSuccess) return refuse_after_abort();  // aborted work ends like work that succeeded
      if (status != cudaErrorNotReady) {
        abort();
        check(status, "the work on a stream to succeed");
      }
      ncclResult_t asynchronous = ncclSuccess;
      {
        const std::lock_guard lock(mutex_);
        refuse_after_abort();
        check(ncclCommGetAsyncError(communicators_[r], &asynchronous),
              "a communicator's state (ncclCommGetAsyncError)");
      }
      if (asynchronous != ncclSuccess && asynchronous != ncclInProgress) {
        abort();
        fail(asynchronous, "devices that reach each other");
      }
      std::this_thread::yield();
    }
  }

  /// Ends the work that waits for replicas that will not come. Any thread may call it; it returns at once. In the
  /// background NCCL first ends the work on the devices, and then waits until the replicas have dropped all graphs that
  /// hold some of it.
  void abort() noexcept {
    const std::lock_guard lock(mutex_);
    if (aborted_.exchange(true)) return;
    for (std::size_t r = 0; r < N; ++r)
      if (ncclComm_t c = std::exchange(communicators_[r], nullptr); c != nullptr)
        closing_[r] = std::thread([this, r, c] {
          {
            std::unique_lock waits(mutex_);
            idle_.wait_for(waits, longest_call, [&] { return !calling_[r]; });
          }
          static_cast<void>(ncclCommAbort(c));
        });
  }

 private:
  /// The stream that sums run on. Their kernels are few and small, and other work waits for them, so they go first.
  struct side {
    explicit side(int device) : on(device, urgency::high), begin(device), end(device) {}

    stream on;
    event begin, end;
    bool under_way = false;
  };

  void refuse_after_abort() const {
    if (aborted_.load())
      throw backend_error("NCCL", "replicas that all take part", "communicators that were closed after one had failed",
                          "make a new trainer");
  }

  /// A replica's call to NCCL. While it lives, `abort` does not take the communicator away, but for a call that waits
  /// so long that only the end of the communicator can end it.
  class in_call {
   public:
    /// Throws backend_error after an abort.
    in_call(collective& of, std::size_t r) : of_(of), r_(r) {
      const std::lock_guard lock(of.mutex_);
      of.refuse_after_abort();
      communicator_ = of.communicators_[r];
      of.calling_[r] = true;
    }
    in_call(const in_call&) = delete;
    in_call& operator=(const in_call&) = delete;
    ~in_call() {
      {
        const std::lock_guard lock(of_.mutex_);
        of_.calling_[r_] = false;
      }
      of_.idle_.notify_all();
    }
    [[nodiscard]] ncclComm_t communicator() const noexcept { return communicator_; }

   private:
    collective& of_;
    std::size_t r_;
    ncclComm_t communicator_ = nullptr;
  };
  static constexpr std::chrono::seconds longest_call{1};

  /// Values that one replica sends to another or gets from it.
  struct message {
    float* values;
    std::int64_t size;
  };

  /// Values up to which replicas gather all: 64 KiB of each travel in less time than it takes to start an exchange.
  static constexpr std::int64_t most_gathered = std::int64_t{1} << 14U;

  [[nodiscard]] std::int64_t ranks() const noexcept { return static_cast<std::int64_t>(size_); }

  /// The size of each replica's slice of n values; the last slice may be shorter. Slices begin where NCCL's copies are
  /// fast.
  [[nodiscard]] std::int64_t slice_of(std::int64_t n) const noexcept {
    constexpr std::int64_t unit = 256;
    return (n + ranks() * unit - 1) / (ranks() * unit) * unit;
  }

  /// Makes the stream for sums wait for the work that `c` has been given, and returns its side.
  [[nodiscard]] side& begin_sum(std::size_t r, context& c) {
    refuse_after_abort();
    side& sums = *sums_[r];
    check(cudaEventRecord(sums.begin.get(), c.stream()), "the begin of a sum over devices (cudaEventRecord)");
    check(cudaStreamWaitEvent(sums.on.get(), sums.begin.get(), 0), "a sum over devices (cudaStreamWaitEvent)");
    sums.under_way = true;
    return sums;
  }

  /// Sends to_send(k) to each other replica k and gets to_get(k) from it, all at once.
  template <class ToSend, class ToGet>
  void exchange(std::size_t r, cudaStream_t on, const ToSend& to_send, const ToGet& to_get) {
    const in_call call(*this, r);
    ncclComm_t const c = call.communicator();
    ncclResult_t status = ncclGroupStart();
    for (int k = 0; k < static_cast<int>(size_); ++k) {
      if (k == static_cast<int>(r)) continue;
      const message away = to_send(k);
      const message here = to_get(k);
      if (status == ncclSuccess && away.size > 0)
        status = ncclSend(away.values, static_cast<std::size_t>(away.size), ncclFloat, k, c, on);
      if (status == ncclSuccess && here.size > 0)
        status = ncclRecv(here.values, static_cast<std::size_t>(here.size), ncclFloat, k, c, on);
    }
    const ncclResult_t started = ncclGroupEnd();
    check(status, "an exchange between devices (ncclSend, ncclRecv)", c);
    check(started, "an exchange between devices to start (ncclGroupEnd)", c);
  }

  /// to = tree_sum of the n values at part(0), part(1), ... of all replicas.
  template <class Part>
  void add_in_order(cudaStream_t on, std::int64_t n, const Part& part, float* to) const {
    with_divisor<N>(size_, [&]<std::size_t Ranks>(std::integral_constant<std::size_t, Ranks>) {
      std::array<const float*, Ranks> parts{};
      for (std::size_t k = 0; k < Ranks; ++k) parts[k] = part(static_cast<std::int64_t>(k));
      reduce_and_update(on, 0, n, parts, to, std::array<float*, 0>{}, assign_rule{});
    });
  }

  /// Whether all replicas say `own`; all get the same answer. Waits for all.
  bool agree(bool own) {
    std::unique_lock lock(mutex_);
    agreed_ = agreed_ && own;
    if (++come_ == size_) {
      come_ = 0;
      verdict_ = std::exchange(agreed_, true);
      ++agreements_;
      met_.notify_all();
    } else {
      met_.wait(lock, [this, before = agreements_] { return agreements_ != before; });
    }
    return verdict_;  // the next verdict comes only after this replica has come again
  }

  std::mutex mutex_;  ///< guards the communicators, once all have joined, and what the replicas agree on
  ncclUniqueId id_{};
  bool has_id_ = false;
  std::atomic<bool> aborted_{false};
  std::array<ncclComm_t, N> communicators_{};
  std::array<std::thread, N> closing_;
  std::array<buffer<float>, N> others_;  ///< what the others send for ordered sums
  std::array<void*, N> registered_{};    ///< NCCL's handles of the shared memory
  std::array<bool, N> calling_{};        ///< replicas that are in a call to NCCL
  std::condition_variable idle_;
  std::condition_variable met_;
  bool agreed_ = true, verdict_ = true;
  std::size_t come_ = 0, agreements_ = 0;
  std::size_t size_ = N;  ///< replicas that take part
  std::array<std::optional<side>, N> sums_;
};

}  // namespace lockstep::cuda_backend
