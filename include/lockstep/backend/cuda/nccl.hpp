// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <lockstep/core/config.hpp>

#include <algorithm>
#include <array>
#include <atomic>
#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <exception>
#include <mutex>
#include <optional>
#include <thread>
#include <type_traits>
#include <utility>

#include <cuda_runtime_api.h>
#include <nccl.h>

#include <lockstep/backend/cuda/context.hpp>
#include <lockstep/backend/cuda/device.hpp>
#include <lockstep/backend/cuda/memory.hpp>
#include <lockstep/backend/cuda/nccl_communicator.hpp>
#include <lockstep/backend/cuda/status.hpp>
#include <lockstep/backend/cuda/stream.hpp>
#include <lockstep/backend/cuda/transfer.hpp>
#include <lockstep/backend/cuda/update.hpp>
#include <lockstep/backend/rule.hpp>
#include <lockstep/core/error.hpp>
#include <lockstep/core/with_divisor.hpp>

/// \file
/// With nccl_communicator.hpp, everything that touches NCCL's own types.

namespace lockstep::cuda_backend {

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
    const std::lock_guard lock(mutex_);
    if (aborted_.load()) {  // streams and memory end after what NCCL still does with them
      for (communicator& each : communicators_) each.await_closed();
      return;
    }
    int before = 0;  // NCCL may leave another device current
    const bool known = cudaGetDevice(&before) == cudaSuccess;
    for (std::size_t r = 0; r < N; ++r) deregister(r);
    for (communicator& each : communicators_) each.finalize();
    for (communicator& each : communicators_) each.destroy();
    if (known) return_to(before);
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
    // Whoever connects waits for all.
    const bool all = agree(!failure);
    if (failure) std::rethrow_exception(failure);
    if (!all) return;
    try {
      communicators_[r].connect(static_cast<int>(size), id_, static_cast<int>(r));
    } catch (...) {
      abort();  // the others would wait for this one
      throw;
    }
  }

  /// Returns n zeros, for values that are to be summed; each replica calls this once on its own thread, after `join`.
  /// The memory comes from NCCL's allocator and is registered, so that NCCL may read and write it in place; that asks
  /// for equal offsets on all replicas. Where either step fails for one replica, all get plain memory, since NCCL
  /// leaves undefined what happens when only some register. The buffers must outlive this object. Throws backend_error
  /// when there is no memory.
  [[nodiscard, gnu::cold]] buffer<float> allocate_shared(std::size_t r, context& c, std::int64_t n) {
    void* memory = nullptr;
    const auto bytes = static_cast<std::size_t>(n) * sizeof(float);
    const auto succeeds = [&](const auto& attempt) {
      try {
        const device_scope here(c.device());
        attempt();
        return true;
      } catch (const error&) {  // if the device has failed, the plain allocation will say so
        return false;
      }
    };
    bool shared =
        agree(n > 0 && succeeds([&] { check(ncclMemAlloc(&memory, bytes), "memory to share (ncclMemAlloc)"); }));
    if (shared)
      shared = agree(succeeds([&] {
        communicators_[r].call("memory to be registered (ncclCommRegister)",
                               [&](ncclComm_t own) { return ncclCommRegister(own, memory, bytes, &registered_[r]); });
      }));
    if (!shared) {
      deregister(r);
      if (memory != nullptr) static_cast<void>(ncclMemFree(memory));
      return allocate<float>(c, n);
    }
    const device_scope here(c.device());
    buffer<float> own(static_cast<float*>(memory), n, c.device(),
                      [](void* p) noexcept { static_cast<void>(ncclMemFree(p)); });
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
    communicators_[r].call("a sum over devices to start (ncclAllReduce)", [&](ncclComm_t own) {
      return ncclAllReduce(values, values, static_cast<std::size_t>(n), ncclFloat, ncclSum, own, sums.on.get());
    });
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
    // Its first launch comes between two exchanges, and so while others may wait for this replica.
    const device_scope here(c.device());
    with_divisor<N>(size_, [&]<std::size_t Ranks>(std::integral_constant<std::size_t, Ranks>) {
      load_reduce_and_update<Ranks, 0, assign_rule>();
    });
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
      communicators_[r].call("a gathering over devices to start (ncclAllGather)", [&](ncclComm_t own) {
        return ncclAllGather(values, others, static_cast<std::size_t>(n), ncclFloat, own, on);
      });
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
      // Aborted work ends like work that succeeded.
      if (status == cudaSuccess) return communicators_[r].refuse_after_abort();
      if (status != cudaErrorNotReady) {
        abort();
        check(status, "the work on a stream to succeed");
      }
      const ncclResult_t found = communicators_[r].state();
      if (found != ncclSuccess && found != ncclInProgress) {
        abort();
        fail(found, "devices that reach each other");
      }
      std::this_thread::yield();
    }
  }

  /// Ends the work that waits for replicas that will not come. Any thread may call it; it returns at once, and only the
  /// first call counts. In the background NCCL first ends the work on the devices, and then waits until the replicas
  /// have dropped all graphs that hold some of it.
  void abort() noexcept {
    const std::lock_guard lock(mutex_);
    if (aborted_.exchange(true)) return;
    // First all, since the end of one communicator ends the work of others, whose replicas must not take it for done.
    for (communicator& each : communicators_) each.refuse();
    for (communicator& each : communicators_) each.close_aborted();
  }

 private:
  /// The stream that sums run on. Their kernels are few and small, and other work waits for them, so they go first.
  struct side {
    explicit side(int device) : on(device, urgency::high), begin(device), end(device) {}

    stream on;
    event begin, end;
    bool under_way = false;
  };

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
    communicators_[r].refuse_after_abort();
    side& sums = *sums_[r];
    check(cudaEventRecord(sums.begin.get(), c.stream()), "the begin of a sum over devices (cudaEventRecord)");
    check(cudaStreamWaitEvent(sums.on.get(), sums.begin.get(), 0), "a sum over devices (cudaStreamWaitEvent)");
    sums.under_way = true;
    return sums;
  }

  /// Sends to_send(k) to each other replica k and gets to_get(k) from it, all at once.
  template <class ToSend, class ToGet>
  void exchange(std::size_t r, cudaStream_t on, const ToSend& to_send, const ToGet& to_get) {
    communicators_[r].call("an exchange between devices (ncclSend, ncclRecv)", [&](ncclComm_t c) {
      ncclResult_t status = ncclGroupStart();
      const auto add = [&](ncclResult_t added) {
        if (status == ncclSuccess || status == ncclInProgress) status = added;
      };
      for (int k = 0; k < static_cast<int>(size_); ++k) {
        if (k == static_cast<int>(r)) continue;
        const message away = to_send(k);
        const message here = to_get(k);
        if (away.size > 0) add(ncclSend(away.values, static_cast<std::size_t>(away.size), ncclFloat, k, c, on));
        if (here.size > 0) add(ncclRecv(here.values, static_cast<std::size_t>(here.size), ncclFloat, k, c, on));
      }
      add(ncclGroupEnd());
      return status;
    });
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

  void deregister(std::size_t r) noexcept {
    if (registered_[r] == nullptr) return;
    try {
      communicators_[r].call("memory to be deregistered (ncclCommDeregister)", [&](ncclComm_t own) {
        return ncclCommDeregister(own, std::exchange(registered_[r], nullptr));
      });
    } catch (const error&) {  // of a communicator that has failed: its end takes the memory out
    }
  }

  std::mutex mutex_;  ///< guards the abort, and what the replicas agree on
  ncclUniqueId id_{};
  bool has_id_ = false;
  std::atomic<bool> aborted_{false};
  std::array<communicator, N> communicators_;
  std::array<buffer<float>, N> others_;  ///< what the others send for ordered sums
  std::array<void*, N> registered_{};    ///< NCCL's handles of the shared memory
  std::condition_variable met_;
  bool agreed_ = true, verdict_ = true;
  std::size_t come_ = 0, agreements_ = 0;
  std::size_t size_ = N;  ///< replicas that take part
  std::array<std::optional<side>, N> sums_;
};

}  // namespace lockstep::cuda_backend
