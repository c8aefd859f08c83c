// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// NCCL's functions, as far as the library uses them. A call is done when all ranks' streams have come to it. Closing a
// communicator waits until no graph holds its calls, as NCCL's does.
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

namespace {

using namespace emulated;

enum class operation { all_reduce, all_gather, exchange };

/// What one rank brings to a call.
struct part {
  operation what{};
  const float* from = nullptr;
  float* to = nullptr;
  std::size_t count = 0;
  bool recorded = false;

  /// Of an exchange: what goes to another rank, and what comes from it.
  struct message {
    const float* from = nullptr;
    float* to = nullptr;
    std::size_t sent = 0, received = 0;
  };
  std::map<std::size_t, message> messages{};
};

/// One call of all ranks.
struct call {
  std::vector<part> parts;
  std::size_t come = 0;
};

struct group {
  explicit group(std::size_t size) : posted(size) {}

  std::size_t joined = 0;
  bool aborted = false;
  std::vector<std::int64_t> posted;  ///< calls that each rank's stream has come to
  std::map<std::int64_t, call> open;
};

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
std::function<void()> in_next_sum;

[[noreturn]] void differ() {
  static_cast<void>(std::fprintf(stderr, "emulated NCCL: ranks whose calls do not fit together\n"));
  std::abort();
}

void finish(const call& c) {
  const part& first = c.parts.front();
  for (const part& each : c.parts)
    if (each.what != first.what || each.count != first.count || each.recorded != first.recorded) differ();
  if (first.what == operation::exchange) {
    // All is read before anything is written, but what a rank sends must not lie where it receives.
    std::map<std::pair<std::size_t, std::size_t>, std::vector<float>> under_way;
    for (std::size_t r = 0; r < c.parts.size(); ++r)
      for (const auto& [to, m] : c.parts[r].messages) {
        const auto& theirs = c.parts.at(to).messages;
        const auto expected = theirs.find(r);
        if (m.sent != (expected == theirs.end() ? 0 : expected->second.received)) differ();
        under_way[{r, to}].assign(m.from, m.from + m.sent);
        for (const auto& [other, n] : c.parts[r].messages)
          if (m.from < n.to + n.received && n.to < m.from + m.sent) differ();
      }
    for (std::size_t r = 0; r < c.parts.size(); ++r)
      for (const auto& [from, m] : c.parts[r].messages) {
        const auto& values = under_way[{from, r}];
        if (m.received != values.size()) differ();
        std::copy(values.begin(), values.end(), m.to);
      }
  } else if (first.what == operation::all_reduce) {
    std::vector<float> sums(first.count);
    for (const part& each : c.parts)
      for (std::size_t i = 0; i < first.count; ++i) sums[i] += each.from[i];
    for (const part& each : c.parts) std::copy(sums.begin(), sums.end(), each.to);
  } else {
    for (const part& to : c.parts)
      for (std::size_t r = 0; r < c.parts.size(); ++r)
        std::memmove(to.to + r * first.count, c.parts[r].from, first.count * sizeof(float));
  }
}

class meeting final : public work {
 public:
  meeting(std::shared_ptr<group> of, std::shared_ptr<int> held, std::size_t rank, const part& own)
      : group_(std::move(of)), held_(std::move(held)), rank_(rank), own_(own) {}

  [[nodiscard]] bool meets() const override { return true; }

  bool run(std::int64_t& ticket) override {
    group& g = *group_;
    if (ticket == 0) {
      ticket = ++g.posted[rank_];
      call& c = g.open[ticket];
      c.parts.resize(g.posted.size());
      c.parts[rank_] = own_;
      if (++c.come == c.parts.size()) {
        finish(c);
        g.open.erase(ticket);
        machine::get().changed.notify_all();
      }
    }
    if (!g.aborted && g.open.contains(ticket)) reach_meetings();
    return g.aborted || !g.open.contains(ticket);
  }

 private:
  std::shared_ptr<group> group_;
  std::shared_ptr<int> held_;  ///< counts who holds calls of the communicator
  std::size_t rank_;
  part own_;
};

}  // namespace

struct ncclComm {
  std::shared_ptr<group> of;
  std::shared_ptr<int> held = std::make_shared<int>();
  std::size_t rank = 0;
  int device = 0;
  std::size_t registered = 0;
};

namespace {

ncclResult_t give(ncclComm_t c, cudaStream_t stream, part own) {
  const lock held(machine::get().mutex);
  if (!communicators().contains(c)) {
    ++closed_uses;
    return ncclInvalidArgument;
  }
  if (stream->work->device != c->device || current_device() != c->device) return ncclInvalidUsage;
  const auto capture = stream->work->capture;
  own.recorded = capture != nullptr;  // by all ranks or by none
  if (capture) {
    // Calls of a communicator keep their order.
    if (const auto last = capture->last_of.find(c); last != capture->last_of.end())
      stream->work->frontier.push_back(last->second);
  }
  if (enqueue(stream, std::make_shared<meeting>(c->of, c->held, c->rank, own)) != cudaSuccess)
    return ncclUnhandledCudaError;
  if (capture) capture->last_of[c] = capture->nodes.size() - 1;
  return ncclSuccess;
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
ncclResult_t ncclCommInitRank(ncclComm_t* to, int size, ncclUniqueId id, int rank) {
  lock held(machine::get().mutex);
  std::uint64_t key = 0;
  std::memcpy(&key, id.internal, sizeof(key));
  auto& g = groups()[key];
  if (!g) g = std::make_shared<group>(static_cast<std::size_t>(size));
  const auto own = g;
  ++own->joined;
  machine::get().changed.notify_all();
  wait(held, [&] { return own->joined == own->posted.size(); });
  groups().erase(key);
  machine::get().connected = true;
  *to = new ncclComm{.of = own, .rank = static_cast<std::size_t>(rank), .device = current_device()};
  communicators().insert(*to);
  return ncclSuccess;
}
ncclResult_t ncclCommDestroy(ncclComm_t c) { return close(c, false); }
ncclResult_t ncclCommAbort(ncclComm_t c) { return close(c, true); }
ncclResult_t ncclCommGetAsyncError(ncclComm_t, ncclResult_t* to) {
  *to = ncclSuccess;
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
  const lock held(machine::get().mutex);
  const block* found = machine::get().find(p);
  if (found == nullptr || found->device != c->device || size > found->size) return ncclInvalidArgument;
  ++c->registered;
  *handle = c;
  return ncclSuccess;
}
ncclResult_t ncclCommDeregister(const ncclComm_t c, void* handle) {
  const lock held(machine::get().mutex);
  if (handle != c || c->registered == 0) return ncclInvalidArgument;
  --c->registered;
  return ncclSuccess;
}

ncclResult_t ncclAllReduce(const void* from, void* to, std::size_t count, ncclDataType_t type, ncclRedOp_t how,
                           ncclComm_t c, cudaStream_t stream) {
  if (type != ncclFloat || how != ncclSum) return ncclInvalidArgument;
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
  if (type != ncclFloat) return ncclInvalidArgument;
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
  return all.of == nullptr ? ncclSuccess : give(all.of, all.stream, all.own);
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
