// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <lockstep/core/config.hpp>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <utility>
#include <vector>

#include <cuda_runtime_api.h>

#include <lockstep/backend/cuda/context.hpp>
#include <lockstep/backend/cuda/device.hpp>
#include <lockstep/backend/cuda/status.hpp>

namespace lockstep::cuda_backend {

/// Sole owner of a graph that can be launched, or of none.
class executable_graph {
 public:
  executable_graph() = default;
  executable_graph(executable_graph&& other) noexcept : graph_(std::exchange(other.graph_, nullptr)) {}
  executable_graph& operator=(executable_graph&& other) noexcept {
    std::swap(graph_, other.graph_);
    return *this;
  }
  ~executable_graph() {
    if (graph_ != nullptr) static_cast<void>(cudaGraphExecDestroy(graph_));
  }

  /// Records the work that f enqueues on the context's stream; none of it runs. Throws what f throws, and backend_error
  /// when f does something that cannot be recorded.
  template <class F>
  static executable_graph record(context& c, F&& f) {
    recording under_way(c);
    std::forward<F>(f)();
    under_way.end();
    executable_graph recorded;
    // Without the flag all work would take the priority of the stream that the graph is launched on.
    check(cudaGraphInstantiate(&recorded.graph_, under_way.graph(), cudaGraphInstantiateFlagUseNodePriority),
          "a graph to launch (cudaGraphInstantiate)");
    return recorded;
  }

  explicit operator bool() const noexcept { return graph_ != nullptr; }

  /// Brings the graph to the device and waits until it is there, so that a launch has nothing left to prepare.
  void upload(context& c) const {
    check(cudaGraphUpload(graph_, c.stream()), "a graph on its device (cudaGraphUpload)");
    c.finish();
  }
  void launch(context& c) const { check(cudaGraphLaunch(graph_, c.stream()), "a graph's launch (cudaGraphLaunch)"); }

 private:
  /// A recording that ends with its scope, even when an exception leaves the scope.
  class recording {
   public:
    explicit recording(context& c) : stream_(c.stream()) {
      // Restricts this thread alone: other replicas allocate and copy meanwhile.
      check(cudaStreamBeginCapture(stream_, cudaStreamCaptureModeThreadLocal),
            "the begin of a recording (cudaStreamBeginCapture)");
    }
    recording(const recording&) = delete;
    recording& operator=(const recording&) = delete;
    ~recording() {
      if (!ended_ && cudaStreamEndCapture(stream_, &graph_) != cudaSuccess) static_cast<void>(cudaGetLastError());
      if (graph_ != nullptr) static_cast<void>(cudaGraphDestroy(graph_));
    }

    void end() {
      ended_ = true;
      check(cudaStreamEndCapture(stream_, &graph_), "the end of a recording (cudaStreamEndCapture)");
    }
    [[nodiscard]] cudaGraph_t graph() const noexcept { return graph_; }

   private:
    cudaStream_t stream_;
    cudaGraph_t graph_ = nullptr;
    bool ended_ = false;
  };

  cudaGraphExec_t graph_ = nullptr;
};

/// The graphs of a context by key. A context has one: `context::library<graph_cache>()`.
class graph_cache {
 public:
  explicit graph_cache(context& c) : context_(c) {}

  /// Runs the work that f enqueues. The first call with a key runs f as it is, so that libraries get ready and
  /// workspaces grow; the second records f and launches the recording; further calls launch it without f, until the
  /// workspace moves. So f must enqueue the same work, with the same values on the host, each time; values that change
  /// are read from the device's memory. Within a recording, f runs as part of it. Calls `ready()` before it launches a
  /// recording for the first time. Throws what f and `ready` throw; nothing was recorded then.
  template <class F, class Ready>
  void replay(std::uint64_t key, F&& f, const Ready& ready) {
    if (context_.recording()) return std::forward<F>(f)();
    if (!known(key)) {
      std::forward<F>(f)();
      return keep({.key = key});  // after f, which may have called forget()
    }
    auto found = find(key);
    if (!found->graph || found->workspace_moves != context_.workspace_moves()) {
      auto recorded = executable_graph::record(context_, std::forward<F>(f));
      if (found->graph) context_.finish();  // the graph that is replaced may still be running
      recorded.upload(context_);
      ready();
      *found = {.key = key, .workspace_moves = context_.workspace_moves(), .graph = std::move(recorded)};
    }
    found->graph.launch(context_);
  }

  /// Runs the work that f enqueues, as it is each time. It is `prepared` when f has run with this key before, and no
  /// memory has moved since.
  template <class F>
  void repeat(std::uint64_t key, F&& f) {
    const auto found = find(key);
    const bool before = found != entries_.end() && found->workspace_moves == context_.workspace_moves();
    {
      const in_repeat now(prepared_, before);
      std::forward<F>(f)();
    }
    if (const auto kept = find(key); kept != entries_.end())  // f may have called forget()
      kept->workspace_moves = context_.workspace_moves();
    else
      keep({.key = key, .workspace_moves = context_.workspace_moves()});
  }

  /// Within `replay` or `repeat`: whether the work that is enqueued has been enqueued before, so that libraries are
  /// ready for it and no workspace grows.
  [[nodiscard]] bool prepared() const { return prepared_ || context_.recording(); }

  /// Drops all graphs; call it when memory that they point to has moved. If there are any, waits for the context's work
  /// and throws what has failed in it; the graphs are gone all the same.
  void forget() {
    ++forgets_;
    if (entries_.empty()) return;
    const auto entered = context_.enter();
    const auto gone = std::exchange(entries_, {});
    context_.finish();
  }

  /// Changes whenever a graph has become useless.
  [[nodiscard]] std::uint64_t moves() const { return forgets_ + context_.workspace_moves(); }

 private:
  static constexpr std::size_t most = 16;

  class in_repeat {
   public:
    in_repeat(bool& flag, bool value) : flag_(flag) { flag_ = value; }
    in_repeat(const in_repeat&) = delete;
    in_repeat& operator=(const in_repeat&) = delete;
    ~in_repeat() { flag_ = false; }

   private:
    bool& flag_;
  };

  struct entry {
    std::uint64_t key = 0;
    std::uint64_t workspace_moves = 0;  ///< the context's, when the graph was recorded
    executable_graph graph{};
  };

  [[nodiscard]] std::vector<entry>::iterator find(std::uint64_t key) {
    return std::find_if(entries_.begin(), entries_.end(), [&](const entry& e) { return e.key == key; });
  }
  [[nodiscard]] bool known(std::uint64_t key) { return find(key) != entries_.end(); }

  void keep(entry fresh) {
    if (entries_.size() == most) {
      context_.finish();
      entries_.erase(entries_.begin());
    }
    entries_.push_back(std::move(fresh));
  }

  context& context_;
  std::uint64_t forgets_ = 0;
  bool prepared_ = false;
  std::vector<entry> entries_;  ///< oldest first
};

/// Waits for nobody.
struct always_ready {
  void operator()() const {}
};

/// graph_cache::replay of the context's own cache.
template <class F, class Ready = always_ready>
void replay(context& c, std::uint64_t key, F&& f, const Ready& ready = {}) {
  c.library<graph_cache>().replay(key, std::forward<F>(f), ready);
}

/// graph_cache::forget of the context's own cache.
inline void forget(context& c) { c.library<graph_cache>().forget(); }

}  // namespace lockstep::cuda_backend
