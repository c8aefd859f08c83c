// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// NCCL's functions, as far as the library uses them. A call is done when all ranks' streams have come to it. Closing a
// communicator waits until no graph holds its calls, as NCCL's does. Communicators are non-blocking, or refused: what a
// call has begun goes on for a few queries of the communicator's state, its stream gets the work with the last of them,
// and until then NCCL takes no other call.
#include <nccl.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <map>
#include <set>
#include <utility>
#include <vector>

#include "faults.hpp"
#include "machine.hpp"
#include "nccl_meeting.hpp"

namespace {

using namespace emulated;

/// Ranks' identities by the communicators that are made of them.
std::map<std::uint64_t, std::shared_ptr<group>>& groups() {
  static auto* all = new std::map<std::uint64_t, std::shared_ptr<group>>;
  return *all;
}
std::set<void*>& own_memory() {
  static auto* all = new std::set<void*>;
  return *all;
}

std::set<ncclComm_t>& communicators() {
  static auto* all = new std::set<ncclComm_t>;
  return *all;
}
int closed_uses = 0;
int interrupted_calls = 0;
bool held_up = false;
std::function<void()> in_next_sum;

}  // namespace

struct ncclComm {
  std::shared_ptr<group> of;
  std::shared_ptr<int> held = std::make_shared<int>();
  std::size_t rank = 0;
  int device = 0;
  std::size_t registered = 0;
  int calls_inside = 0;                       ///< threads that are in a call with it
  int queries_left = 0;                       ///< until what was begun last is done
  std::function<ncclResult_t()> last_step{};  ///< of what was begun last
  ncclResult_t failure = ncclSuccess;
  bool finalized = false;
};

namespace {

/// A thread's call with a communicator. Which one may be in which call is what NCCL leaves to its user.
class inside_call {
 public:
  explicit inside_call(ncclComm_t c) : c_(c) {
    const lock held(machine::get().mutex);
    known_ = communicators().contains(c);
    if (known_)
      ++c->calls_inside;
    else
      ++closed_uses;
  }
  inside_call(const inside_call&) = delete;
  inside_call& operator=(const inside_call&) = delete;
  ~inside_call() {
    const lock held(machine::get().mutex);
    if (known_ && communicators().contains(c_)) --c_->calls_inside;
  }
  /// Whether NCCL takes another call than for the state.
  [[nodiscard]] bool ready() const {
    const lock held(machine::get().mutex);
    return known_ && communicators().contains(c_) && !working(*c_) && !c_->finalized && c_->failure == ncclSuccess;
  }
  [[nodiscard]] bool known() const { return known_; }

  [[nodiscard]] static bool working(const ncclComm& c) {
    return c.queries_left > 0 || c.of->joined < c.of->posted.size() || (held_up && c.last_step);
  }

 private:
  ncclComm_t c_;
  bool known_ = false;
};

/// Begins what `last_step` ends: at once, or with one of the next queries.
ncclResult_t begin(ncclComm_t c, std::function<ncclResult_t()> last_step) {
  static int begun = 0;
  c->queries_left = ++begun % 4;
  if (c->queries_left == 0 && !held_up) return last_step();
  c->last_step = std::move(last_step);
  return ncclInProgress;
}

ncclResult_t give(ncclComm_t c, cudaStream_t stream, part own) {
  const lock held(machine::get().mutex);
  if (stream->work->device != c->device || current_device() != c->device) return ncclInvalidUsage;
  const auto capture = stream->work->capture;
  own.recorded = capture != nullptr;  // by all ranks or by none
  return begin(c, [=] {
    if (stream->work->capture != capture) return ncclInvalidUsage;
    if (capture) {
      // Calls of a communicator keep their order.
      if (const auto last = capture->last_of.find(c); last != capture->last_of.end())
        stream->work->frontier.push_back(last->second);
    }
    if (enqueue(stream, std::make_shared<meeting>(c->of, c->held, c->rank, own)) != cudaSuccess)
      return ncclUnhandledCudaError;
    if (capture) capture->last_of[c] = capture->nodes.size() - 1;
    return ncclSuccess;
  });
}

/// What a thread has called since ncclGroupStart.
struct open_group {
  bool open = false;
  ncclComm_t of = nullptr;
  cudaStream_t stream = nullptr;
  part own{.what = operation::exchange};
};
thread_local open_group grouped;

/// A part of the thread's group, which is of one communicator and one stream.
part::message* message_with(ncclDataType_t type, int peer, ncclComm_t c, cudaStream_t stream) {
  const bool fits = type == ncclFloat && grouped.open && peer >= 0 &&
                    static_cast<std::size_t>(peer) < c->of->posted.size() &&
                    static_cast<std::size_t>(peer) != c->rank && (grouped.of == nullptr || grouped.of == c) &&
                    (grouped.stream == nullptr || grouped.stream == stream);
  if (!fits) return nullptr;
  grouped.of = c;
  grouped.stream = stream;
  return &grouped.own.messages[static_cast<std::size_t>(peer)];
}

ncclResult_t close(ncclComm_t c, bool abort) {
  lock held(machine::get().mutex);
  if (!communicators().contains(c)) {
    ++closed_uses;
    return ncclInvalidArgument;
  }
  if (c->calls_inside > 0) ++interrupted_calls;
  if (!abort && (!c->finalized || inside_call::working(*c))) {
    static_cast<void>(
        std::fprintf(stderr, "emulated NCCL: a communicator is destroyed before it has been finalized\n"));
    std::abort();
  }
  c->last_step = nullptr;
  if (abort) {
    c->of->aborted = true;
    machine::get().changed.notify_all();
  }
  const auto end = std::chrono::steady_clock::now() + std::chrono::seconds(20);
  while (c->held.use_count() > 1) {
    reach_meetings();
    if (c->held.use_count() > 1 && machine::get().changed.wait_until(held, end) == std::cv_status::timeout) {
      static_cast<void>(std::fprintf(stderr, "emulated NCCL: a communicator closes while a graph holds its calls\n"));
      std::abort();
    }
  }
  if (!abort && c->registered > 0) return ncclInvalidUsage;
  communicators().erase(c);
  delete c;
  return ncclSuccess;
}

}  // namespace

void emulated::call_in_next_sum(std::function<void()> f) {
  const lock held(machine::get().mutex);
  in_next_sum = std::move(f);
}
int emulated::uses_of_closed_communicators() {
  const lock held(machine::get().mutex);
  return closed_uses;
}
int emulated::ends_during_calls() {
  const lock held(machine::get().mutex);
  return interrupted_calls;
}
void emulated::hold_up_communicators(bool held_up_now) {
  const lock held(machine::get().mutex);
  held_up = held_up_now;
}

ncclResult_t ncclGetVersion(int* version) {
  *version = NCCL_VERSION_CODE;
  return ncclSuccess;
}
const char* ncclGetErrorString(ncclResult_t) { return "an emulated status"; }
const char* ncclGetLastError(ncclComm_t) { return ""; }

ncclResult_t ncclGetUniqueId(ncclUniqueId* to) {
  static std::uint64_t next = 0;
  const lock held(machine::get().mutex);
  *to = {};
  const std::uint64_t id = ++next;
  std::memcpy(to->internal, &id, sizeof(id));
  return ncclSuccess;
}
ncclResult_t ncclCommInitRankConfig(ncclComm_t* to, int size, ncclUniqueId id, int rank, ncclConfig_t* config) {
  const lock held(machine::get().mutex);
  if (config == nullptr || config->blocking != 0) return ncclInvalidArgument;
  std::uint64_t key = 0;
  std::memcpy(&key, id.internal, sizeof(key));
  auto& g = groups()[key];
  if (!g) g = std::make_shared<group>(static_cast<std::size_t>(size));
  const auto own = g;
  if (++own->joined == own->posted.size()) groups().erase(key);
  machine::get().changed.notify_all();
  machine::get().connected = true;
  *to = new ncclComm{.of = own, .rank = static_cast<std::size_t>(rank), .device = current_device()};
  communicators().insert(*to);
  static_cast<void>(begin(*to, [] { return ncclSuccess; }));
  return ncclInProgress;
}
ncclResult_t ncclCommFinalize(ncclComm_t c) {
  const inside_call call(c);
  if (!call.ready()) return ncclInvalidArgument;
  const lock held(machine::get().mutex);
  c->finalized = true;
  return begin(c, [] { return ncclSuccess; });
}
ncclResult_t ncclCommDestroy(ncclComm_t c) { return close(c, false); }
ncclResult_t ncclCommAbort(ncclComm_t c) { return close(c, true); }
ncclResult_t ncclCommGetAsyncError(ncclComm_t c, ncclResult_t* to) {
  const inside_call call(c);
  if (!call.known()) return ncclInvalidArgument;
  const lock held(machine::get().mutex);
  if (c->queries_left > 0 && !held_up && c->of->joined == c->of->posted.size()) --c->queries_left;
  if (!inside_call::working(*c) && c->last_step) c->failure = std::exchange(c->last_step, nullptr)();
  *to = inside_call::working(*c) ? ncclInProgress : c->failure;
  return ncclSuccess;
}

ncclResult_t ncclMemAlloc(void** to, std::size_t size) {
  const lock held(machine::get().mutex);
  if (cudaMalloc(to, size) != cudaSuccess) return ncclUnhandledCudaError;
  own_memory().insert(*to);
  return ncclSuccess;
}
ncclResult_t ncclMemFree(void* p) {
  {
    const lock held(machine::get().mutex);
    if (own_memory().erase(p) == 0) return ncclInvalidArgument;
  }
  return cudaFree(p) == cudaSuccess ? ncclSuccess : ncclUnhandledCudaError;
}
ncclResult_t ncclCommRegister(const ncclComm_t c, void* p, std::size_t size, void** handle) {
  const inside_call call(c);
  if (!call.ready()) return ncclInvalidArgument;
  const lock held(machine::get().mutex);
  const block* found = machine::get().find(p);
  if (found == nullptr || found->device != c->device || size > found->size) return ncclInvalidArgument;
  ++c->registered;
  *handle = c;
  return ncclSuccess;
}
ncclResult_t ncclCommDeregister(const ncclComm_t c, void* handle) {
  const inside_call call(c);
  if (!call.ready()) return ncclInvalidArgument;
  const lock held(machine::get().mutex);
  if (handle != c || c->registered == 0) return ncclInvalidArgument;
  --c->registered;
  return ncclSuccess;
}

ncclResult_t ncclAllReduce(const void* from, void* to, std::size_t count, ncclDataType_t type, ncclRedOp_t how,
                           ncclComm_t c, cudaStream_t stream) {
  const inside_call call(c);
  if (type != ncclFloat || how != ncclSum || !call.ready()) return ncclInvalidArgument;
  std::function<void()> f;
  {
    const lock held(machine::get().mutex);
    f = std::exchange(in_next_sum, nullptr);
  }
  if (f) f();
  return give(c, stream, {operation::all_reduce, static_cast<const float*>(from), static_cast<float*>(to), count});
}
ncclResult_t ncclAllGather(const void* from, void* to, std::size_t count, ncclDataType_t type, ncclComm_t c,
                           cudaStream_t stream) {
  const inside_call call(c);
  if (type != ncclFloat || !call.ready()) return ncclInvalidArgument;
  return give(c, stream, {operation::all_gather, static_cast<const float*>(from), static_cast<float*>(to), count});
}

ncclResult_t ncclGroupStart() {
  if (grouped.open) return ncclInvalidUsage;
  grouped = {};
  grouped.open = true;
  return ncclSuccess;
}
ncclResult_t ncclGroupEnd() {
  if (!grouped.open) return ncclInvalidUsage;
  const open_group all = std::move(grouped);
  grouped = {};
  if (all.of == nullptr) return ncclSuccess;
  const inside_call call(all.of);
  return call.ready() ? give(all.of, all.stream, all.own) : ncclInvalidArgument;
}
ncclResult_t ncclSend(const void* from, std::size_t count, ncclDataType_t type, int peer, ncclComm_t c,
                      cudaStream_t stream) {
  part::message* const m = message_with(type, peer, c, stream);
  if (m == nullptr || m->sent > 0) return ncclInvalidArgument;
  m->from = static_cast<const float*>(from);
  m->sent = count;
  return ncclSuccess;
}
ncclResult_t ncclRecv(void* to, std::size_t count, ncclDataType_t type, int peer, ncclComm_t c, cudaStream_t stream) {
  part::message* const m = message_with(type, peer, c, stream);
  if (m == nullptr || m->received > 0) return ncclInvalidArgument;
  m->to = static_cast<float*>(to);
  m->received = count;
  return ncclSuccess;
}
