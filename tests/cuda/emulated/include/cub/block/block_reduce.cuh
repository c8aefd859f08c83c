// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include "device_code.hpp"

namespace cub {

/// Stands in for CUB's. Its storage may be used again behind a barrier, no sooner; only thread 0 has the result.
template <class T, int Threads>
class BlockReduce {
 public:
  struct TempStorage {
    T values[Threads];
  };

  explicit BlockReduce(TempStorage& storage) : storage_(storage) {}

  template <class Operation>
  [[nodiscard]] T Reduce(T value, Operation operation) {
    storage_.values[threadIdx.x] = value;
    __syncthreads();
    if (threadIdx.x == 0)
      for (int i = 1; i < Threads; ++i) value = operation(value, storage_.values[i]);
    return value;
  }

 private:
  TempStorage& storage_;
};

}  // namespace cub
