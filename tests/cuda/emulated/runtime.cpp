// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// The CUDA runtime's functions, as far as the library uses them.
#include <cuda.h>
#include <cuda_runtime_api.h>

#include <algorithm>
#include <atomic>
#include <cstring>
#include <string_view>

#include "faults.hpp"
#include "machine.hpp"

namespace emulated {

namespace {

thread_local int device_of_thread = 0;
std::atomic<int> refused_device{-1};

/// Work that ends when a stream has come to a place.
class place_in_stream final : public work {
 public:
  place_in_stream(std::shared_ptr<queue> on, std::uint64_t at) : on_(std::move(on)), at_(at) {}
  bool run(std::int64_t&) override { return on_->reach(at_); }

 private:
  std::shared_ptr<queue> on_;
  std::uint64_t at_;
};

/// All streams of a device, or of all for -1, come to their ends.
}  // namespace

void finish_device(lock& held, int device) {
  wait(held, [&] {
    bool all = true;
    const auto queues = machine::get().queues;
    for (const auto& each : queues)
      if (const auto q = each.lock(); q && (device < 0 || q->device == device)) all = q->reach(q->given) && all;
    return all;
  });
}
void touch_memory(lock& held) {
  if (machine::get().connected) finish_device(held, -1);
}

int current_device() { return device_of_thread; }

void need_context() {
  const lock held(machine::get().mutex);
  if (auto& all = machine::get().contexts; !all.empty()) all[static_cast<std::size_t>(device_of_thread)] = 1;
}
void forget_contexts() {
  const lock held(machine::get().mutex);
  std::fill(machine::get().contexts.begin(), machine::get().contexts.end(), char{0});
}

void refuse_device(int device) { refused_device = device; }

bool breaks_recording() {
  const auto queues = machine::get().queues;
  bool recording = false;
  for (const auto& each : queues)
    if (const auto q = each.lock(); q && q->capture && q->capture->owner == std::this_thread::get_id())
      recording = q->capture->broken = true;
  return recording;
}

}  // namespace emulated

using namespace emulated;

cudaError_t cudaDriverGetVersion(int* version) {
  *version = CUDART_VERSION;
  return cudaSuccess;
}
cudaError_t cudaRuntimeGetVersion(int* version) {
  *version = CUDART_VERSION;
  return cudaSuccess;
}
const char* cudaGetErrorName(cudaError_t status) {
  switch (status) {
    case cudaSuccess:
      return "cudaSuccess";
    case cudaErrorNoDevice:
      return "cudaErrorNoDevice";
    case cudaErrorMemoryAllocation:
      return "cudaErrorMemoryAllocation";
    default:
      return "an emulated error";
  }
}
const char* cudaGetErrorString(cudaError_t status) {
  return status == cudaErrorMemoryAllocation ? "out of memory" : "see its number";
}

cudaError_t cudaGetDeviceCount(int* count) {
  *count = machine::get().devices();
  return *count > 0 ? cudaSuccess : noted(cudaErrorNoDevice);
}
cudaError_t cudaGetDevice(int* device) {
  *device = device_of_thread;
  return cudaSuccess;
}
cudaError_t cudaSetDevice(int device) {
  if (device == refused_device) return noted(cudaErrorDevicesUnavailable);
  if (device < 0 || device >= machine::get().devices()) return noted(cudaErrorInvalidDevice);
  device_of_thread = device;
  need_context();
  return cudaSuccess;
}

namespace {

CUresult context_state(CUdevice device, unsigned* flags, int* active) {
  const lock held(machine::get().mutex);
  if (device < 0 || device >= machine::get().devices()) return CUDA_ERROR_INVALID_DEVICE;
  *flags = 0;
  *active = machine::get().contexts[static_cast<std::size_t>(device)];
  return CUDA_SUCCESS;
}

}  // namespace

cudaError_t cudaGetDriverEntryPointByVersion(const char* name, void** to, unsigned, unsigned long long,
                                             cudaDriverEntryPointQueryResult* result) {
  const bool known = std::string_view(name) == "cuDevicePrimaryCtxGetState";
  *to = known ? reinterpret_cast<void*>(&context_state) : nullptr;
  *result = known ? cudaDriverEntryPointSuccess : cudaDriverEntryPointSymbolNotFound;
  return cudaSuccess;
}
cudaError_t cudaGetDeviceProperties(cudaDeviceProp* properties, int) {
  *properties = {};
  std::strcpy(properties->name, "emulated");
  properties->major = 9;
  properties->multiProcessorCount = 1;
  return cudaSuccess;
}
cudaError_t cudaMemGetInfo(std::size_t* free, std::size_t* total) {
  need_context();
  const lock held(machine::get().mutex);
  *total = machine::memory_of_device();
  *free = *total - machine::get().used[static_cast<std::size_t>(device_of_thread)];
  return cudaSuccess;
}

cudaError_t cudaMalloc(void** to, std::size_t size) {
  need_context();
  lock held(machine::get().mutex);
  if (breaks_recording()) return noted(cudaErrorStreamCaptureUnsupported);
  touch_memory(held);
  return noted(machine::get().allocate(to, size, device_of_thread));
}
cudaError_t cudaFree(void* p) {
  need_context();
  lock held(machine::get().mutex);
  if (p == nullptr) return cudaSuccess;
  if (breaks_recording()) return noted(cudaErrorStreamCaptureUnsupported);
  const block* found = machine::get().find(p);
  if (found == nullptr) return noted(cudaErrorInvalidValue);
  finish_device(held, found->device);
  touch_memory(held);
  return noted(machine::get().release(p));
}
cudaError_t cudaMallocHost(void** to, std::size_t size) {
  need_context();
  const lock held(machine::get().mutex);
  if (breaks_recording()) return noted(cudaErrorStreamCaptureUnsupported);
  return noted(machine::get().allocate(to, size, -1));
}
cudaError_t cudaFreeHost(void* p) {
  need_context();
  lock held(machine::get().mutex);
  if (breaks_recording()) return noted(cudaErrorStreamCaptureUnsupported);
  finish_device(held, -1);
  return noted(machine::get().release(p));
}

cudaError_t cudaPointerGetAttributes(cudaPointerAttributes* to, const void* p) {
  need_context();
  const lock held(machine::get().mutex);
  const block* found = machine::get().find(p);
  *to = {};
  to->type = found == nullptr    ? cudaMemoryTypeUnregistered
             : found->device < 0 ? cudaMemoryTypeHost
                                 : cudaMemoryTypeDevice;
  return cudaSuccess;
}

cudaError_t cudaMemcpyAsync(void* to, const void* from, std::size_t size, cudaMemcpyKind kind, cudaStream_t stream) {
  const lock held(machine::get().mutex);
  if (kind != cudaMemcpyDefault) return noted(cudaErrorInvalidMemcpyDirection);
  const auto pageable = [](const void* p) { return machine::get().find(p) == nullptr; };
  // A graph would read the host's memory whenever it is launched.
  if (stream != nullptr && stream->work->capture && (pageable(from) || pageable(to)))
    return noted(cudaErrorStreamCaptureUnsupported);
  return enqueue(stream, make_work([=] { std::memmove(to, from, size); }));
}
cudaError_t cudaMemcpy2DAsync(void* to, std::size_t to_pitch, const void* from, std::size_t from_pitch,
                              std::size_t width, std::size_t height, cudaMemcpyKind kind, cudaStream_t stream) {
  const lock held(machine::get().mutex);
  if (kind != cudaMemcpyDeviceToDevice) return noted(cudaErrorInvalidMemcpyDirection);
  if (width > to_pitch || width > from_pitch) return noted(cudaErrorInvalidPitchValue);
  return enqueue(stream, make_work([=] {
                   for (std::size_t row = 0; row < height; ++row)
                     std::memmove(static_cast<char*>(to) + row * to_pitch,
                                  static_cast<const char*>(from) + row * from_pitch, width);
                 }));
}
cudaError_t cudaMemsetAsync(void* to, int value, std::size_t size, cudaStream_t stream) {
  const lock held(machine::get().mutex);
  return enqueue(stream, make_work([=] { std::memset(to, value, size); }));
}

cudaError_t cudaDeviceGetStreamPriorityRange(int* least, int* greatest) {
  need_context();
  *least = 0;
  *greatest = -5;
  return cudaSuccess;
}
cudaError_t cudaStreamCreateWithPriority(cudaStream_t* to, unsigned flags, int priority) {
  need_context();
  const lock held(machine::get().mutex);
  if (flags != cudaStreamNonBlocking || priority > 0 || priority < -5) return noted(cudaErrorInvalidValue);
  auto& queues = machine::get().queues;
  std::erase_if(queues, [](const auto& each) { return each.expired(); });
  *to = new CUstream_st{std::make_shared<queue>(device_of_thread)};
  queues.push_back((*to)->work);
  return cudaSuccess;
}
cudaError_t cudaStreamDestroy(cudaStream_t stream) {
  need_context();
  const lock held(machine::get().mutex);
  if (stream == nullptr) return noted(cudaErrorInvalidResourceHandle);
  stream->work->reach(stream->work->given);
  delete stream;
  return cudaSuccess;
}
cudaError_t cudaStreamSynchronize(cudaStream_t stream) {
  need_context();
  lock held(machine::get().mutex);
  if (breaks_recording()) return noted(cudaErrorStreamCaptureUnsupported);
  const auto q = stream->work;
  const std::uint64_t target = q->given;
  wait(held, [&] { return q->reach(target); });
  return cudaSuccess;
}
cudaError_t cudaStreamQuery(cudaStream_t stream) {
  need_context();
  const lock held(machine::get().mutex);
  if (breaks_recording()) return noted(cudaErrorStreamCaptureUnsupported);
  return stream->work->reach(stream->work->given) ? cudaSuccess : cudaErrorNotReady;
}

cudaError_t cudaEventCreateWithFlags(cudaEvent_t* to, unsigned) {
  need_context();
  *to = new CUevent_st;
  (*to)->device = device_of_thread;
  return cudaSuccess;
}
cudaError_t cudaEventDestroy(cudaEvent_t event) {
  need_context();
  delete event;
  return cudaSuccess;
}
cudaError_t cudaEventRecord(cudaEvent_t event, cudaStream_t stream) {
  need_context();
  const lock held(machine::get().mutex);
  queue& q = *stream->work;
  if (event->device != q.device) return noted(cudaErrorInvalidResourceHandle);
  event->captured = q.capture != nullptr;
  event->capture = q.capture;
  event->nodes = q.frontier;
  event->on = stream->work;
  event->at = q.given;
  return cudaSuccess;
}
cudaError_t cudaEventSynchronize(cudaEvent_t event) {
  need_context();
  lock held(machine::get().mutex);
  if (breaks_recording()) return noted(cudaErrorStreamCaptureUnsupported);
  if (event->captured) return noted(cudaErrorCapturedEvent);
  if (const auto on = event->on) wait(held, [on, at = event->at] { return on->reach(at); });
  return cudaSuccess;
}
cudaError_t cudaStreamWaitEvent(cudaStream_t stream, cudaEvent_t event, unsigned) {
  need_context();
  const lock held(machine::get().mutex);
  queue& q = *stream->work;
  if (!event->captured) {
    // A recording cannot wait for what lies outside it.
    if (q.capture) return event->on ? noted(cudaErrorStreamCaptureIsolation) : cudaSuccess;
    return event->on ? enqueue(stream, std::make_shared<place_in_stream>(event->on, event->at)) : cudaSuccess;
  }
  const auto capture = event->capture.lock();
  if (!capture || (q.capture && q.capture != capture)) return noted(cudaErrorStreamCaptureIsolation);
  if (!q.capture) {
    q.capture = capture;
    q.frontier.clear();
    capture->streams.push_back(&q);
  }
  for (const std::size_t n : event->nodes)
    if (std::find(q.frontier.begin(), q.frontier.end(), n) == q.frontier.end()) q.frontier.push_back(n);
  return cudaSuccess;
}
