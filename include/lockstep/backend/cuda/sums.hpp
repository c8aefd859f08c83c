// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <lockstep/core/config.hpp>

#include <cstdint>
#include <string_view>

#include <cub/block/block_reduce.cuh>
#include <cub/warp/warp_reduce.cuh>

#include <lockstep/backend/cuda/context.hpp>
#include <lockstep/backend/cuda/launch.hpp>

/// \file
/// Sums within a kernel and across two, in an order that does not change from run to run.

namespace lockstep::cuda_backend {

struct larger {
  __device__ float operator()(float a, float b) const { return b > a ? b : a; }
};

struct plus {
  __device__ double operator()(double a, double b) const { return a + b; }
};

/// Shared memory in which each team of a block (a warp, or the whole block) adds up its threads' values. All threads of
/// a team call together, and all get the result.
template <int Threads, int Team>
class team_sums {
  static constexpr int warp = 32;
  static constexpr int teams = Threads / Team;
  static_assert(Team == warp || Team == Threads);

 public:
  [[nodiscard]] __device__ double sum(double value) { return reduce(value, plus{}, sum_); }
  [[nodiscard]] __device__ float largest(float value) { return reduce(value, larger{}, largest_); }

  /// The sum of the teams' first threads' values, for the block's first thread. All threads of the block call.
  [[nodiscard]] __device__ double sum_of_teams(double value) {
    if constexpr (teams > 1) {
      if (threadIdx.x % Team == 0) first_[threadIdx.x / Team] = value;
      __syncthreads();
      value = first_[0];
      for (int k = 1; k < teams; ++k) value += first_[k];
    }
    return value;
  }

 private:
  template <class T>
  using warp_reduce = cub::WarpReduce<T, warp>;
  template <class T>
  using block_reduce = cub::BlockReduce<T, Threads>;

  template <class T>
  struct storage {
    union {
      typename warp_reduce<T>::TempStorage of_warp[teams];
      typename block_reduce<T>::TempStorage of_block;
    };
    T result;
  };

  template <class T, class Operation>
  __device__ T reduce(T value, Operation operation, storage<T>& s) {
    if constexpr (Team == warp) {
      value = warp_reduce<T>(s.of_warp[threadIdx.x / warp]).Reduce(value, operation);
      return __shfl_sync(0xffffffffU, value, 0);
    } else {
      value = block_reduce<T>(s.of_block).Reduce(value, operation);
      if (threadIdx.x == 0) s.result = value;
      __syncthreads();
      value = s.result;
      __syncthreads();  // before the next call writes
      return value;
    }
  }

  storage<double> sum_;
  storage<float> largest_;
  double first_[teams];
};

/// *to += the sum of n values, by one block.
template <int Threads>
__global__ void __launch_bounds__(Threads) add_sum_kernel(std::int64_t n, const double* values, double* to) {
  __shared__ team_sums<Threads, Threads> shared;
  double total = 0;
  for (std::int64_t i = threadIdx.x; i < n; i += Threads) total += values[i];
  total = shared.sum(total);
  if (threadIdx.x == 0) *to += total;
}

/// *to += the sum of n values.
inline void add_sum(context& c, std::string_view what, std::int64_t n, const double* values, double* to) {
  launch(c, what, add_sum_kernel<block_threads>, 1, block_threads, n, values, to);
}

}  // namespace lockstep::cuda_backend
