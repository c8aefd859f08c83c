// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "machine.hpp"

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstdint>
#include <cstdlib>
#include <cstring>

namespace emulated {

namespace {

constexpr std::size_t alignment = 256;

thread_local cudaError_t last_error = cudaSuccess;

}  // namespace

bool queue::reach(std::uint64_t target) {
  if (running_) return done >= target;
  running_ = true;
  while (done < target) {
    entry& next = waiting_.front();
    if (!next.what->run(next.ticket)) break;
    waiting_.pop_front();
    ++done;
  }
  running_ = false;
  return done >= target;
}

void queue::reach_meeting() {
  const auto found = std::find_if(waiting_.begin(), waiting_.end(), [](const entry& e) { return e.what->meets(); });
  if (found != waiting_.end()) reach(done + static_cast<std::uint64_t>(found - waiting_.begin()) + 1);
}

machine& machine::get() {
  static machine& only = []() -> machine& {
    auto* made = new machine;  // never destroyed: threads of the program may outlive this library's statics
    const char* wanted = std::getenv("EMULATED_CUDA_DEVICES");
    made->used.resize(wanted == nullptr ? 4 : static_cast<std::size_t>(std::atoi(wanted)));
    made->contexts.resize(made->used.size());
    return *made;
  }();
  return only;
}

const block* machine::find(const void* p) const {
  const auto at = reinterpret_cast<std::uintptr_t>(p);
  auto next = memory.upper_bound(at);
  if (next == memory.begin()) return nullptr;
  --next;
  return at < next->first + next->second.size ? &next->second : nullptr;
}

cudaError_t machine::allocate(void** to, std::size_t size, int device) {
  if (device >= 0 && size > memory_of_device() - used[static_cast<std::size_t>(device)])
    return cudaErrorMemoryAllocation;
  // Not rounded up, so that the address sanitizer sees the first byte that is too far.
  if (posix_memalign(to, alignment, std::max<std::size_t>(size, 1)) != 0) return cudaErrorMemoryAllocation;
  spoil(*to, size);
  if (device >= 0) used[static_cast<std::size_t>(device)] += size;
  memory[reinterpret_cast<std::uintptr_t>(*to)] = {size, device};
  return cudaSuccess;
}

cudaError_t machine::release(void* p) {
  const auto found = memory.find(reinterpret_cast<std::uintptr_t>(p));
  if (found == memory.end()) return cudaErrorInvalidValue;
  if (found->second.device >= 0) used[static_cast<std::size_t>(found->second.device)] -= found->second.size;
  memory.erase(found);
  std::free(p);
  return cudaSuccess;
}

cudaError_t enqueue(cudaStream_t stream, work_ptr what) {
  need_context();
  if (stream == nullptr) return noted(cudaErrorInvalidResourceHandle);
  auto& m = machine::get();
  queue& q = *stream->work;
  if (!q.capture) {
    q.give(std::move(what));
    ++m.given;
    m.changed.notify_all();
    return cudaSuccess;
  }
  if (q.capture->broken) return noted(cudaErrorStreamCaptureInvalidated);
  auto& nodes = q.capture->nodes;
  nodes.push_back({std::move(what), q.frontier});
  q.frontier.assign(1, nodes.size() - 1);
  return cudaSuccess;
}

void reach_meetings() {
  const auto all = machine::get().queues;  // running may end streams
  for (const auto& each : all)
    if (const auto q = each.lock()) q->reach_meeting();
}

cudaError_t noted(cudaError_t status) {
  if (status != cudaSuccess) last_error = status;
  return status;
}

void spoil(void* p, std::size_t size) { std::memset(p, 0xFF, size); }

float rounded(float x, unsigned dropped) {
  if (std::isnan(x)) return x;
  const auto bits = std::bit_cast<std::uint32_t>(x);
  const std::uint32_t half = (1U << (dropped - 1)) - 1 + (bits >> dropped & 1U);
  return std::bit_cast<float>((bits + half) >> dropped << dropped);
}

bool fuses() {
  const char* const chosen = std::getenv("EMULATED_CUDA_FUSION");
  return chosen == nullptr || std::strcmp(chosen, "off") != 0;
}

}  // namespace emulated

cudaError_t cudaGetLastError() { return std::exchange(emulated::last_error, cudaSuccess); }
