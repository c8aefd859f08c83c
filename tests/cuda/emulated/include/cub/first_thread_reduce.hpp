// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include "device_code.hpp"

namespace emulated {

/// A reduction over groups of `Threads` neighbours, whose first one alone has the result. Barrier() is one of such a
/// group. The storage may be used again behind another one, no sooner.
template <class T, int Threads, void (*Barrier)()>
class first_thread_reduce {
 public:
  struct TempStorage {
    T values[Threads];
  };

  explicit first_thread_reduce(TempStorage& storage) : storage_(storage) {}

  template <class Operation>
  [[nodiscard]] T Reduce(T value, Operation operation) {
    const unsigned place = threadIdx.x % Threads;
    storage_.values[place] = value;
    Barrier();
    if (place == 0)
      for (int i = 1; i < Threads; ++i) value = operation(value, storage_.values[i]);
    return value;
  }

 private:
  TempStorage& storage_;
};

}  // namespace emulated
