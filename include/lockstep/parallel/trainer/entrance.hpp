// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <atomic>

#include <lockstep/core/error.hpp>

namespace lockstep::detail {

/// Keeps an object for one thread while it lives. The constructor throws value_error when another thread is inside.
class entrance {
 public:
  explicit entrance(std::atomic<bool>& busy) : busy_(busy) {
    if (busy_.exchange(true, std::memory_order_acquire))
      throw value_error("data_parallel", "one thread at a time", "a call while another one runs",
                        "give each thread an object of its own, or take turns");
  }
  entrance(const entrance&) = delete;
  entrance& operator=(const entrance&) = delete;
  ~entrance() { busy_.store(false, std::memory_order_release); }

 private:
  std::atomic<bool>& busy_;
};

/// Held by a thread that has entered: its entrance, and the scope that makes the object's device current.
template <class Device>
struct inside {
  entrance alone;
  Device device;
};

}  // namespace lockstep::detail
