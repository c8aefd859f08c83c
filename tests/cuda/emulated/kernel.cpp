// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Runs kernels block by block. The threads of a block are fibers of the one host thread, which change places at
// barriers only: a fiber runs thread after thread of the block until one of them comes to a barrier, and waits there
// with it, so that a kernel without barriers is a loop. With EMULATED_CUDA_ORDER=reverse blocks and threads run last
// first, which shows where a barrier is missing.
#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <set>
#include <string_view>
#include <utility>
#include <vector>

#include <boost/context/fiber.hpp>

#include "faults.hpp"
#include "kernel.hpp"
#include "machine.hpp"

uint3 threadIdx{};
uint3 blockIdx{};
dim3 blockDim;
dim3 gridDim;

namespace emulated {

namespace {

constexpr unsigned warp_size = 32;
constexpr unsigned most_threads = 1024;

[[noreturn]] void give_up(const char* why) {
  static_cast<void>(std::fprintf(stderr, "emulated CUDA: %s\n", why));
  std::abort();
}

/// Whether blocks and threads run last first.
bool last_first() {
  static const bool reverse = [] {
    const char* order = std::getenv("EMULATED_CUDA_ORDER");
    return order != nullptr && std::string_view(order) == "reverse";
  }();
  return reverse;
}

using boost::context::fiber;

/// The threads of one block.
class block_runner {
 public:
  void run(const kernel_call& call) {
    call_ = &call;
    threads_ = blockDim.x;
    begun_ = ended_ = 0;
    std::fill_n(ended_of_warp_, most_threads / warp_size, 0U);
    while (ended_ < threads_) {
      if (runner* next = choose()) {
        running_ = next;
        threadIdx = {next->thread, 0, 0};
        next->execution = std::move(next->execution).resume();
      } else {
        give_up("a barrier that some threads of a block do not come to");
      }
    }
  }

  void wait_for_block() {
    at_block_barrier_.push_back(running_);
    release_block();
    leave();
  }
  void wait_for_warp() {
    const unsigned warp = threadIdx.x / warp_size;
    at_warp_barrier_[warp].push_back(running_);
    release_warp(warp);
    leave();
  }
  /// Where the lanes of the running thread's warp leave what they exchange.
  [[nodiscard]] std::byte (*exchanged())[8] { return exchanged_ + threadIdx.x / warp_size * warp_size; }

  static block_runner& get() {
    static auto* only = new block_runner;  // never destroyed: its fibers do not end
    return *only;
  }

 private:
  /// Runs threads of the block, one after another.
  struct runner {
    fiber execution;
    fiber scheduler;  ///< while it runs
    unsigned thread = 0;
  };
  using runners = std::vector<runner*>;

  /// A fiber that can go on: one of those that a barrier has let go, or one for threads that have not begun.
  runner* choose() {
    if (next_ready_ < ready_.size()) return ready_[next_ready_++];
    ready_.clear();
    next_ready_ = 0;
    if (begun_ == threads_) return nullptr;
    if (!idle_.empty()) {
      runner* rested = idle_.back();
      idle_.pop_back();
      return rested;
    }
    all_.push_back(std::make_unique<runner>());
    runner* fresh = all_.back().get();
    fresh->execution = fiber([this, fresh](fiber&& scheduler) {
      fresh->scheduler = std::move(scheduler);
      run_threads();
      return fiber();  // never: it runs threads for as long as the program does
    });
    return fresh;
  }

  /// Lets go those who wait at a barrier, if all have come who did not end before.
  void release_block() {
    if (at_block_barrier_.size() + ended_ == threads_) release(at_block_barrier_);
  }
  void release_warp(unsigned warp) {
    if (at_warp_barrier_[warp].size() + ended_of_warp_[warp] == threads_of(warp)) release(at_warp_barrier_[warp]);
  }
  void release(runners& waiting) {
    ready_.insert(ready_.end(), waiting.begin(), waiting.end());
    waiting.clear();
  }

  [[nodiscard]] unsigned threads_of(unsigned warp) const { return std::min(warp_size, threads_ - warp * warp_size); }

  void leave() {
    runner& own = *running_;
    own.scheduler = std::move(own.scheduler).resume();
  }

  void run_threads() {
    runner& own = *running_;
    for (;;) {
      while (begun_ < threads_) {
        own.thread = last_first() ? threads_ - 1 - begun_ : begun_;
        ++begun_;
        threadIdx = {own.thread, 0, 0};
        call_->run(call_->arguments);
        ++ended_;
        ++ended_of_warp_[own.thread / warp_size];
        release_warp(own.thread / warp_size);
        release_block();
      }
      idle_.push_back(&own);
      leave();
    }
  }

  const kernel_call* call_ = nullptr;
  unsigned threads_ = 0;
  unsigned begun_ = 0;
  unsigned ended_ = 0;
  unsigned ended_of_warp_[most_threads / warp_size] = {};
  std::byte exchanged_[most_threads][8] = {};
  std::vector<std::unique_ptr<runner>> all_;
  runners idle_;  ///< have no thread
  runners at_block_barrier_;
  runners at_warp_barrier_[most_threads / warp_size];
  runners ready_;  ///< from the next one on: can go on
  std::size_t next_ready_ = 0;
  runner* running_ = nullptr;
};

struct kernel_work final : work {
  kernel_work(const dim3& b, const dim3& t, const kernel_call& c) : blocks(b), threads(t), call(c) {}
  ~kernel_work() override {
    call.destroy(call.arguments);
    std::free(call.arguments);
  }

  bool run(std::int64_t&) override {
    for (unsigned b = 0; b < blocks.x; ++b) {
      blockIdx = {last_first() ? blocks.x - 1 - b : b, 0, 0};
      blockDim = threads;
      gridDim = blocks;
      block_runner::get().run(call);
    }
    return true;
  }

  dim3 blocks;
  dim3 threads;
  kernel_call call;
};

}  // namespace

void block_barrier() { block_runner::get().wait_for_block(); }
void warp_barrier() { block_runner::get().wait_for_warp(); }

void shuffle(void* value, std::size_t size, int lane) {
  auto* const slots = block_runner::get().exchanged();
  if (size > sizeof(slots[0])) give_up("a value of more than 8 bytes to exchange");
  std::memcpy(slots[threadIdx.x % warp_size], value, size);
  warp_barrier();
  std::memcpy(value, slots[lane], size);
  warp_barrier();
}

std::uint64_t given_work() {
  const lock held(machine::get().mutex);
  return machine::get().given;
}

void* room_for_arguments(std::size_t size) {
  void* room = std::malloc(size);
  if (room == nullptr) give_up("no memory for a kernel's arguments");  // and so that the call is seen to be this one's
  return room;
}

cudaError_t launch(const cudaLaunchConfig_t& config, const kernel_call& call) {
  lock held(machine::get().mutex);
  auto made = std::make_shared<kernel_work>(config.gridDim, config.blockDim, call);
  const bool sizes_fit = config.blockDim.x > 0 && config.blockDim.x <= most_threads && config.blockDim.y == 1 &&
                         config.blockDim.z == 1 && config.gridDim.x > 0 && config.gridDim.x < 1U << 31U &&
                         config.gridDim.y == 1 && config.gridDim.z == 1 && config.dynamicSmemBytes == 0;
  if (!sizes_fit) return noted(cudaErrorInvalidConfiguration);
  if (config.stream == nullptr || config.stream->work->device != current_device())
    return noted(cudaErrorInvalidResourceHandle);
  // A graph brings its kernels along as it is made.
  if (!config.stream->work->capture) load_kernel(held, call.kernel);
  return enqueue(config.stream, std::move(made));
}

namespace {

/// By device.
std::set<std::pair<int, const void*>>& loaded_kernels() {
  static auto* all = new std::set<std::pair<int, const void*>>;
  return *all;
}

}  // namespace

void load_kernel(lock& held, const void* kernel) {
  if (loaded_kernels().insert({current_device(), kernel}).second) touch_memory(held);
}
void forget_kernels() {
  const lock held(machine::get().mutex);
  loaded_kernels().clear();
}

}  // namespace emulated

cudaError_t cudaFuncGetAttributes(cudaFuncAttributes* to, const void* kernel) {
  emulated::lock held(emulated::machine::get().mutex);
  emulated::need_context();
  *to = {};
  emulated::load_kernel(held, kernel);
  return cudaSuccess;
}
