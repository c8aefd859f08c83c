// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Recording and graphs. A graph runs its nodes last first, as far as what they come behind allows, so that an order
// nobody asked for is not kept.
#include <cuda_runtime_api.h>

#include <algorithm>

#include "faults.hpp"
#include "machine.hpp"

namespace emulated {

namespace {

class graph_run final : public work {
 public:
  explicit graph_run(std::shared_ptr<const std::vector<node>> nodes)
      : nodes_(std::move(nodes)), done_(nodes_->size()), tickets_(nodes_->size()), left_(nodes_->size()) {}

  bool run(std::int64_t&) override {
    while (left_ > 0 && advance()) continue;
    return left_ == 0;
  }
  [[nodiscard]] bool meets() const override {
    return std::any_of(nodes_->begin(), nodes_->end(), [](const node& n) { return n.what->meets(); });
  }

 private:
  bool advance() {
    for (std::size_t k = nodes_->size(); k-- > 0;) {
      const node& n = (*nodes_)[k];
      if (done_[k] != 0 || !std::all_of(n.after.begin(), n.after.end(), [&](std::size_t i) { return done_[i] != 0; }))
        continue;
      if (!n.what->run(tickets_[k])) continue;
      done_[k] = 1;
      --left_;
      return true;
    }
    return false;
  }

  std::shared_ptr<const std::vector<node>> nodes_;
  std::vector<char> done_;
  std::vector<std::int64_t> tickets_;
  std::size_t left_;
};

int graph_launches = 0;
std::size_t nodes_launched_last = 0;

/// Whether the end of every stream that takes part comes before the end of `origin`.
bool joined(const recording& r, const queue& origin) {
  std::vector<char> reached(r.nodes.size());
  std::vector<std::size_t> open = origin.frontier;
  while (!open.empty()) {
    const std::size_t n = open.back();
    open.pop_back();
    if (std::exchange(reached[n], 1) == 0) open.insert(open.end(), r.nodes[n].after.begin(), r.nodes[n].after.end());
  }
  return std::all_of(reached.begin(), reached.end(), [](char c) { return c != 0; });
}

}  // namespace

int launched_graphs() {
  const lock held(machine::get().mutex);
  return graph_launches;
}
std::size_t nodes_of_last_graph() {
  const lock held(machine::get().mutex);
  return nodes_launched_last;
}

}  // namespace emulated

using namespace emulated;

cudaError_t cudaStreamBeginCapture(cudaStream_t stream, cudaStreamCaptureMode mode) {
  need_context();
  const lock held(machine::get().mutex);
  queue& q = *stream->work;
  if (mode != cudaStreamCaptureModeThreadLocal || q.capture) return noted(cudaErrorIllegalState);
  q.capture = std::make_shared<recording>();
  q.capture->streams.push_back(&q);
  q.capture->owner = std::this_thread::get_id();
  q.frontier.clear();
  return cudaSuccess;
}

cudaError_t cudaStreamIsCapturing(cudaStream_t stream, cudaStreamCaptureStatus* status) {
  need_context();
  const lock held(machine::get().mutex);
  const auto& capture = stream->work->capture;
  *status = !capture          ? cudaStreamCaptureStatusNone
            : capture->broken ? cudaStreamCaptureStatusInvalidated
                              : cudaStreamCaptureStatusActive;
  return cudaSuccess;
}

cudaError_t cudaStreamEndCapture(cudaStream_t stream, cudaGraph_t* to) {
  need_context();
  const lock held(machine::get().mutex);
  *to = nullptr;
  queue& q = *stream->work;
  const auto capture = q.capture;
  if (!capture) return noted(cudaErrorIllegalState);
  if (capture->streams.front() != &q) return noted(cudaErrorStreamCaptureUnmatched);
  if (capture->owner != std::this_thread::get_id()) return noted(cudaErrorStreamCaptureWrongThread);
  const bool all = joined(*capture, q);
  for (queue* each : capture->streams) {
    each->capture.reset();
    each->frontier.clear();
  }
  if (capture->broken) return noted(cudaErrorStreamCaptureInvalidated);
  if (!all) return noted(cudaErrorStreamCaptureUnjoined);
  *to = new CUgraph_st{std::make_shared<const std::vector<node>>(std::move(capture->nodes))};
  return cudaSuccess;
}

cudaError_t cudaGraphInstantiate(cudaGraphExec_t* to, cudaGraph_t graph, unsigned long long) {
  need_context();
  lock held(machine::get().mutex);
  touch_memory(held);
  *to = new CUgraphExec_st{graph->nodes};
  return cudaSuccess;
}
cudaError_t cudaGraphUpload(cudaGraphExec_t graph, cudaStream_t stream) {
  need_context();
  lock held(machine::get().mutex);
  touch_memory(held);
  if (stream->work->capture || graph->nodes == nullptr) return noted(cudaErrorStreamCaptureUnsupported);
  return enqueue(stream, make_work([] {}));
}
cudaError_t cudaGraphDestroy(cudaGraph_t graph) {
  need_context();
  const lock held(machine::get().mutex);
  delete graph;
  machine::get().changed.notify_all();
  return cudaSuccess;
}
cudaError_t cudaGraphExecDestroy(cudaGraphExec_t graph) {
  need_context();
  const lock held(machine::get().mutex);
  delete graph;
  machine::get().changed.notify_all();
  return cudaSuccess;
}
cudaError_t cudaGraphLaunch(cudaGraphExec_t graph, cudaStream_t stream) {
  need_context();
  const lock held(machine::get().mutex);
  if (stream->work->capture) return noted(cudaErrorStreamCaptureUnsupported);
  ++graph_launches;
  nodes_launched_last = graph->nodes->size();
  return enqueue(stream, std::make_shared<graph_run>(graph->nodes));
}
