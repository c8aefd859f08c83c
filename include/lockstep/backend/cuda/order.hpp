// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <algorithm>
#include <cstdint>
#include <string_view>

#include <lockstep/backend/cuda/context.hpp>
#include <lockstep/backend/cuda/launch.hpp>
#include <lockstep/core/shape.hpp>

namespace lockstep::cuda_backend {

/// Side of the square that a block turns at a time.
inline constexpr int turn_side = 32;

/// Turns n matrices of rows x columns to columns x rows, writing the elements of the result in order: for matrices so
/// narrow that their lines share cache lines.
template <int Threads, class In, class Out>
__global__ void __launch_bounds__(Threads)
    turn_narrow_kernel(std::int64_t n, std::int64_t rows, std::int64_t columns, const In* x, Out* y) {
  const std::int64_t size = rows * columns;
  const std::int64_t threads = std::int64_t{gridDim.x} * Threads;
  for (std::int64_t i = std::int64_t{blockIdx.x} * Threads + threadIdx.x; i < n * size; i += threads) {
    const std::int64_t at = i % size;
    y[i] = static_cast<Out>(x[i - at + at % rows * columns + at / rows]);
  }
}

/// The same square by square through shared memory, so that reads and writes both go along lines. A block has
/// turn_side x Lines threads.
template <int Lines, class In, class Out>
__global__ void __launch_bounds__(turn_side* Lines)
    turn_kernel(std::int64_t n, std::int64_t rows, std::int64_t columns, const In* x, Out* y) {
  __shared__ float square[turn_side][turn_side + 1];  // one more, so that a column lies in 32 banks
  const std::int64_t down = (rows + turn_side - 1) / turn_side;
  const std::int64_t across = (columns + turn_side - 1) / turn_side;
  const int lane = static_cast<int>(threadIdx.x) % turn_side;
  const int line = static_cast<int>(threadIdx.x) / turn_side;
  for (std::int64_t b = blockIdx.x; b < n * down * across; b += gridDim.x) {
    const std::int64_t matrix = b / (down * across) * rows * columns;
    const std::int64_t row = b / across % down * turn_side;
    const std::int64_t column = b % across * turn_side;
    for (int k = line; k < turn_side; k += Lines)
      if (row + k < rows && column + lane < columns)
        square[k][lane] = static_cast<float>(x[matrix + (row + k) * columns + column + lane]);
    __syncthreads();
    for (int k = line; k < turn_side; k += Lines)
      if (column + k < columns && row + lane < rows)
        y[matrix + (column + k) * rows + row + lane] = static_cast<Out>(square[lane][k]);
    __syncthreads();
  }
}

/// Turns n matrices of rows x columns, and rounds each element to the type of y. x and y do not overlap.
template <class In, class Out>
void turn(context& c, std::string_view what, std::int64_t n, std::int64_t rows, std::int64_t columns, const In* x,
          Out* y) {
  constexpr int lines = 8;
  if ((std::min)(rows, columns) < lines)
    launch(c, what, turn_narrow_kernel<block_threads, In, Out>, blocks_for(n * rows * columns, block_threads),
           block_threads, n, rows, columns, x, y);
  else
    launch(c, what, turn_kernel<lines, In, Out>,
           blocks_for(n * blocks_for(rows, turn_side) * blocks_for(columns, turn_side), 1), turn_side * lines, n, rows,
           columns, x, y);
}

/// Turns n samples of channels x height x width from plain to channels-last order.
template <class In, class Out>
void to_channels_last(context& c, std::int64_t n, const dims& d, const In* x, Out* y) {
  turn(c, "a change to channels-last", n, d[0], d[1] * d[2], x, y);
}

/// The inverse of `to_channels_last`.
template <class In, class Out>
void to_plain(context& c, std::int64_t n, const dims& d, const In* x, Out* y) {
  turn(c, "a change to plain order", n, d[1] * d[2], d[0], x, y);
}

}  // namespace lockstep::cuda_backend
