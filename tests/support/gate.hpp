// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <string_view>
#include <thread>

#include "support/user_layer.hpp"

/// \file
/// A layer that holds a pass up, so that a test can do something meanwhile.

namespace lockstep_test {

inline std::atomic<int> held{0};           ///< passes inside the gate
inline std::atomic<bool> gate_open{true};  ///< what they wait for

/// The identity, which waits in its forward pass until the test lets it go.
struct gate : same_extents {
  static constexpr std::string_view kind = "gate";
  static constexpr lockstep::layer_traits traits{.backward_reads_input = false};

  template <class B, lockstep::node_traits T>
  class op {
    using value = typename B::value_type;
    using context = typename B::context;

   public:
    op(context&, std::int64_t samples) : count_(samples * T.in.size()) {}

    void forward(context&, const lockstep::pass&, const value* x, const value*, value* y) {
      held.fetch_add(1);
      while (!gate_open.load()) std::this_thread::yield();
      held.fetch_sub(1);
      std::copy_n(x, count_, y);
    }
    void backward(context&, const lockstep::pass&, const lockstep::backward_arguments<B>&) {}

   private:
    std::int64_t count_;
  };
};

/// Keeps the gate shut while it lives.
struct shut_gate {
  shut_gate() { gate_open.store(false); }
  shut_gate(const shut_gate&) = delete;
  shut_gate& operator=(const shut_gate&) = delete;
  ~shut_gate() { open(); }

  static void open() { gate_open.store(true); }
  static void await(int passes) {
    while (held.load() != passes) std::this_thread::yield();
  }
};

}  // namespace lockstep_test
