// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <map>
#include <memory>
#include <mutex>
#include <thread>
#include <utility>
#include <vector>

#include <cuda_bf16.h>
#include <cuda_runtime_api.h>

/// \file
/// The machine that the emulated libraries share: streams that run as late as they may, graphs, and memory.

namespace emulated {

/// Something that a stream has been given, or a node of a graph.
class work {
 public:
  work() = default;
  work(const work&) = delete;
  work& operator=(const work&) = delete;
  virtual ~work() = default;

  /// Does it, or as much of it as can be done now; true when all of it is. `ticket` is 0 at first, and kept.
  virtual bool run(std::int64_t& ticket) = 0;
  /// Whether it waits for streams of other ranks.
  [[nodiscard]] virtual bool meets() const { return false; }
};
using work_ptr = std::shared_ptr<work>;

template <class F>
[[nodiscard]] work_ptr make_work(F f) {
  struct plain final : work {
    explicit plain(F given) : f(std::move(given)) {}
    bool run(std::int64_t&) override {
      f();
      return true;
    }
    F f;
  };
  return std::make_shared<plain>(std::move(f));
}

struct node {
  work_ptr what;
  std::vector<std::size_t> after;
};

/// What is recorded until its origin's capture ends.
struct recording {
  std::vector<node> nodes;
  std::vector<class queue*> streams;
  std::map<const void*, std::size_t> last_of;  ///< communicator's last node: it keeps its calls in order
  std::thread::id owner;
  bool broken = false;
};

/// The work of a stream.
class queue {
 public:
  explicit queue(int on) : device(on) {}

  /// Runs until `target` pieces of work are done, if that can be now.
  bool reach(std::uint64_t target);
  /// Up to the first piece that waits for other ranks.
  void reach_meeting();
  [[nodiscard]] bool idle() const { return done == given; }

  const int device;
  std::uint64_t given = 0;
  std::uint64_t done = 0;
  std::shared_ptr<recording> capture;
  std::vector<std::size_t> frontier;  ///< nodes behind which what is recorded next comes

  void give(work_ptr what) {
    waiting_.push_back({std::move(what)});
    ++given;
  }

 private:
  struct entry {
    work_ptr what;
    std::int64_t ticket = 0;
  };
  std::deque<entry> waiting_;
  bool running_ = false;
};

struct block {
  std::size_t size;
  int device;  ///< -1 for memory of the host
};

struct machine {
  std::recursive_mutex mutex;
  std::condition_variable_any changed;
  std::vector<std::weak_ptr<queue>> queues;
  std::map<std::uintptr_t, block> memory;
  std::vector<std::size_t> used;  ///< bytes of each device
  std::vector<char> contexts;     ///< whether there is a context on each device
  std::uint64_t given = 0;        ///< pieces of work, to all streams
  bool connected = false;         ///< devices reach each other's memory, since there are communicators

  [[nodiscard]] static machine& get();
  [[nodiscard]] int devices() const { return static_cast<int>(used.size()); }
  [[nodiscard]] static constexpr std::size_t memory_of_device() { return std::size_t{4} << 30U; }

  /// The allocation that p lies in, or null.
  [[nodiscard]] const block* find(const void* p) const;
  [[nodiscard]] cudaError_t allocate(void** to, std::size_t size, int device);
  [[nodiscard]] cudaError_t release(void* p);
};

using lock = std::unique_lock<std::recursive_mutex>;

/// Waits until `ready()`, which may run work.
template <class F>
void wait(lock& held, const F& ready) {
  while (!ready()) machine::get().changed.wait(held);
}

/// Gives work to a stream, or records it. Null as the stream is refused: the library never uses the default one.
[[nodiscard]] cudaError_t enqueue(cudaStream_t stream, work_ptr what);
/// Runs what a meeting of ranks waits for.
void reach_meetings();
/// Waits for all work of a device, or with -1 of all devices.
void finish_device(lock& held, int device);
/// Brings a kernel to the calling thread's device, as its first launch there does, which may wait as allocations do.
void load_kernel(lock& held, const void* kernel);
/// What a call does that gives or takes memory of the device: where devices are connected it may wait for all of them.
void touch_memory(lock& held);
/// The calling thread's device.
[[nodiscard]] int current_device();
/// What nearly every call does first: makes a context on the calling thread's device unless there is one.
void need_context();
/// Notes an error for cudaGetLastError.
cudaError_t noted(cudaError_t status);
/// Ends the calling thread's recording if it has one, and says that the call is not for it.
[[nodiscard]] bool breaks_recording();
/// Sets memory to what no result may come from: NaN, as numbers of any width.
void spoil(void* p, std::size_t size);

/// Whether libraries offer what they may do in the same call as a product: not with EMULATED_CUDA_FUSION=off.
[[nodiscard]] bool fuses();

/// x without its lowest `dropped` bits, the nearest such number, ties to even: to TF32 with 13, to bfloat16 with 16.
[[nodiscard]] float rounded(float x, unsigned dropped);

/// Elements in memory as a library finds them: of float, or of bfloat16, to which values are rounded.
struct elements {
  void* begin;
  bool bfloat16;

  [[nodiscard]] float operator[](std::int64_t i) const {
    return bfloat16 ? static_cast<float>(static_cast<const __nv_bfloat16*>(begin)[i])
                    : static_cast<const float*>(begin)[i];
  }
  void put(std::int64_t i, float value) const {
    if (bfloat16)
      static_cast<__nv_bfloat16*>(begin)[i] = static_cast<__nv_bfloat16>(value);
    else
      static_cast<float*>(begin)[i] = value;
  }
};

}  // namespace emulated

struct CUstream_st {
  std::shared_ptr<emulated::queue> work;
};

struct CUevent_st {
  int device = 0;
  std::shared_ptr<emulated::queue> on;  ///< none: not recorded yet
  std::uint64_t at = 0;
  std::weak_ptr<emulated::recording> capture;
  std::vector<std::size_t> nodes;  ///< with `capture`
  bool captured = false;
};

struct CUgraph_st {
  std::shared_ptr<const std::vector<emulated::node>> nodes;
};

struct CUgraphExec_st {
  std::shared_ptr<const std::vector<emulated::node>> nodes;
};
