// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <lockstep/backend/cpu/onednn.hpp>

namespace lockstep::cpu_backend {

/// What one replica keeps for its whole life: the oneDNN engine and stream, and how many threads oneDNN may use.
class context {
 public:
  explicit context(int threads = 1)
      : engine_(onednn::checked("a CPU engine", [] { return dnnl::engine(dnnl::engine::kind::cpu, 0); })),
        stream_(engine_),
        threads_(threads) {
    if (threads < 1) throw value_error("cpu", "one thread or more for a replica", std::to_string(threads));
  }

  [[nodiscard]] const dnnl::engine& engine() const noexcept { return engine_; }
  [[nodiscard]] const dnnl::stream& stream() const noexcept { return stream_; }
  [[nodiscard]] int threads() const noexcept { return threads_; }

  /// Held by whoever creates or runs primitives of this context.
  [[nodiscard]] onednn::thread_scope enter() const { return onednn::thread_scope(threads_); }

 private:
  dnnl::engine engine_;
  dnnl::stream stream_;
  int threads_;
};

}  // namespace lockstep::cpu_backend
