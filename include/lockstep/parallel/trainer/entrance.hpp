// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <atomic>

#include <lockstep/core/error.hpp>

namespace lockstep::detail {

/// Keeps an object for one thread. A second thread that enters meanwhile gets a value_error.
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

/// A thread that has entered, and what sets its current device to the object's.
template <class Device>
struct inside {
  entrance alone;
  Device device;
};

}  // namespace lockstep::detail
