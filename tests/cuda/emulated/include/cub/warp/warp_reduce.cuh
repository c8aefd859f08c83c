// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include "device_code.hpp"

namespace cub {

/// Stands in for CUB's. Only lane 0 has the result.
template <class T, int Threads>
class WarpReduce {
 public:
  struct TempStorage {
    T values[Threads];
  };

  explicit WarpReduce(TempStorage& storage) : storage_(storage) {}

  template <class Operation>
  [[nodiscard]] T Reduce(T value, Operation operation) {
    storage_.values[threadIdx.x % Threads] = value;
    __syncwarp();
    if (threadIdx.x % Threads == 0)
      for (int i = 1; i < Threads; ++i) value = operation(value, storage_.values[i]);
    return value;
  }

 private:
  TempStorage& storage_;
};

}  // namespace cub
