// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <cstdint>
#include <string>

#include <lockstep/backend/cpu/onednn.hpp>
#include <lockstep/backend/replica_place.hpp>
#include <lockstep/core/error.hpp>
#include <lockstep/core/tensor.hpp>

namespace lockstep::cpu_backend {

/// What one replica keeps for its whole life: oneDNN's engine and stream, the number of threads oneDNN may use, and a
/// workspace.
class context {
 public:
  /// Throws value_error when `threads` is less than 1, backend_error when oneDNN has no CPU engine.
  explicit context(int threads = 1) : threads_(threads) {
    if (threads < 1) throw value_error("cpu", "one thread or more for a replica", std::to_string(threads));
    onednn::check(dnnl_engine_create(engine_.out(), dnnl_cpu, 0), "a CPU engine");
    onednn::check(dnnl_stream_create(stream_.out(), engine_.get(), dnnl_stream_default_flags), "a stream");
  }

  explicit context(const replica_place& place) : context(place.threads) {}

  [[nodiscard]] dnnl_engine_t engine() const noexcept { return engine_.get(); }
  [[nodiscard]] dnnl_stream_t stream() const noexcept { return stream_.get(); }
  [[nodiscard]] int threads() const noexcept { return threads_; }

  /// A workspace of `size` floats for one primitive, valid until the next call. Grows when `size` exceeds all earlier
  /// ones.
  [[nodiscard]] float* workspace(std::int64_t size) {
    if (workspace_.size() < size) workspace_ = aligned_buffer<float>(size);
    return workspace_.data();
  }

  /// Says that parameters may have changed since the passes before: what primitives have derived from weights is stale.
  void loaded() noexcept { ++loads_; }
  /// Number of calls of `loaded`. While it is 0, primitives take weights to be new in every pass.
  [[nodiscard]] std::uint64_t loads() const noexcept { return loads_; }

  /// Sets oneDNN's number of threads. Callers hold the result while they create or run primitives of this context.
  [[nodiscard]] onednn::thread_scope enter() const { return onednn::thread_scope(threads_); }

 private:
  onednn::engine_handle engine_;
  onednn::stream_handle stream_;
  aligned_buffer<float> workspace_;
  int threads_;
  std::uint64_t loads_ = 0;
};

}  // namespace lockstep::cpu_backend
