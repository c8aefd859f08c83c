// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <algorithm>
#include <cstdint>
#include <utility>

#include <lockstep/backend/cuda/context.hpp>
#include <lockstep/backend/cuda/element_packet.hpp>
#include <lockstep/backend/cuda/launch.hpp>
#include <lockstep/core/config.hpp>

/// \file
/// The bias and the relu after a matrix product or a convolution that does not include them, in one pass, and the
/// gradient of the bias. A relu is never part of a product: cuBLASLt's relu turns a NaN into 0, which would hide that a
/// network has diverged.

namespace lockstep::cuda_backend {

/// Every thread keeps to one packet of columns: the stride is a multiple of the packets in a row.
template <class A, int Width, bool Bias, bool Relu>
__global__ void bias_relu_kernel(std::int64_t packets, std::int64_t packets_in_row, std::int64_t stride,
                                 const A* LOCKSTEP_RESTRICT bias, element_packet<A, Width>* LOCKSTEP_RESTRICT y) {
  const std::int64_t first = static_cast<std::int64_t>(blockIdx.x) * blockDim.x + threadIdx.x;
  if (first >= stride) return;
  float b[Width] = {};
  if constexpr (Bias)
    for (int k = 0; k < Width; ++k) b[k] = static_cast<float>(bias[first % packets_in_row * Width + k]);
  for (std::int64_t i = first; i < packets; i += stride) {
    element_packet<A, Width> v = y[i];
    for (int k = 0; k < Width; ++k) {
      float value = static_cast<float>(v.values[k]);
      if constexpr (Bias) value += b[k];
      if constexpr (Relu) value = value < 0.F ? 0.F : value;  // a NaN stays
      v.values[k] = static_cast<A>(value);
    }
    y[i] = v;
  }
}

inline constexpr int sum_columns = 32;                         ///< columns of a block
inline constexpr int sum_lanes = block_threads / sum_columns;  ///< rows that a block reads at once
inline constexpr int sum_rows = 256;                           ///< rows of a block

/// sums (chunks x columns) (+)= the sums of `sum_rows` rows each of x (rows x columns).
template <class A, bool Accumulate>
__global__ void column_sums_kernel(std::int64_t rows, std::int64_t columns, std::int64_t column_blocks,
                                   const A* LOCKSTEP_RESTRICT x, float* LOCKSTEP_RESTRICT sums) {
  __shared__ float parts[sum_lanes][sum_columns];
  const int lane = static_cast<int>(threadIdx.x) / sum_columns;
  const int place = static_cast<int>(threadIdx.x) % sum_columns;
  const std::int64_t chunk = blockIdx.x / column_blocks;
  const std::int64_t column = blockIdx.x % column_blocks * sum_columns + place;
  const std::int64_t begin = chunk * sum_rows;
  const std::int64_t end = begin + sum_rows < rows ? begin + sum_rows : rows;
  float sum = 0;
  if (column < columns)
    for (std::int64_t r = begin + lane; r < end; r += sum_lanes) sum += static_cast<float>(x[r * columns + column]);
  parts[lane][place] = sum;
  __syncthreads();
  if (lane != 0 || column >= columns) return;
  for (int other = 1; other < sum_lanes; ++other) sum += parts[other][place];
  float& to = sums[chunk * columns + column];
  to = Accumulate ? to + sum : sum;
}

namespace detail {

template <int Width, bool Bias, bool Relu, class A>
void launch_bias_relu(context& c, std::int64_t rows, std::int64_t columns, const A* bias, A* y) {
  constexpr std::int64_t wanted = std::int64_t{1} << 18U;  // threads
  const std::int64_t in_row = columns / Width;
  const std::int64_t stride = in_row * (std::min)(rows, (wanted + in_row - 1) / in_row);
  launch(c, "a bias or a relu to be applied", bias_relu_kernel<A, Width, Bias, Relu>, blocks_for(stride, block_threads),
         block_threads, rows * in_row, in_row, stride, bias, reinterpret_cast<element_packet<A, Width>*>(y));
}

template <bool Bias, bool Relu, class A>
void choose_bias_relu(context& c, std::int64_t rows, std::int64_t columns, const A* bias, A* y) {
  if (fits_packets<widest_packet<A>>(columns, y))
    launch_bias_relu<widest_packet<A>, Bias, Relu>(c, rows, columns, bias, y);
  else
    launch_bias_relu<1, Bias, Relu>(c, rows, columns, bias, y);
}

}  // namespace detail

/// y (rows x columns) += bias unless that is null, then y = max(y, 0) if `relu`; a NaN stays one.
template <class A>
void add_bias_and_relu(context& c, std::int64_t rows, std::int64_t columns, const A* bias, bool relu, A* y) {
  if (rows == 0 || columns == 0) return;
  if (bias != nullptr && relu)
    detail::choose_bias_relu<true, true>(c, rows, columns, bias, y);
  else if (bias != nullptr)
    detail::choose_bias_relu<true, false>(c, rows, columns, bias, y);
  else if (relu)
    detail::choose_bias_relu<false, true>(c, rows, columns, bias, y);
}

/// Chunks of at most `sum_rows` rows, each added up at once; 1 for no rows.
[[nodiscard]] constexpr std::int64_t sum_chunks(std::int64_t rows) {
  return std::max<std::int64_t>(1, blocks_for(rows, sum_rows));
}

/// Bytes of the context's workspace that `column_sums` asks for.
[[nodiscard]] constexpr std::int64_t column_sums_workspace(std::int64_t rows, std::int64_t columns) {
  const std::int64_t chunks = sum_chunks(rows);
  return chunks > 1 ? (chunks + sum_chunks(chunks)) * columns * std::int64_t{sizeof(float)} : 0;
}

namespace detail {

/// sums (chunks x columns) (+)= the sums of each chunk of rows of x.
template <class A>
void add_chunks(context& c, std::int64_t rows, std::int64_t columns, const A* x, float* sums, bool accumulate) {
  const std::int64_t column_blocks = blocks_for(columns, sum_columns);
  launch(c, "the sums of columns", accumulate ? column_sums_kernel<A, true> : column_sums_kernel<A, false>,
         sum_chunks(rows) * column_blocks, block_threads, rows, columns, column_blocks, x, sums);
}

}  // namespace detail

/// sums[k] (+)= the sum of column k of x (rows x columns), added in float32 by a tree whose form depends on `rows`
/// alone; with `accumulate` the complete sum is added once. Uses the context's workspace.
template <class A>
void column_sums(context& c, std::int64_t rows, std::int64_t columns, const A* x, float* sums, bool accumulate) {
  if (columns == 0) return;
  if (sum_chunks(rows) == 1) return detail::add_chunks(c, rows, columns, x, sums, accumulate);
  // The levels of the tree alternate between two ranges.
  auto* from = static_cast<float*>(c.workspace(column_sums_workspace(rows, columns)));
  float* to = from + sum_chunks(rows) * columns;
  detail::add_chunks(c, rows, columns, x, from, false);
  rows = sum_chunks(rows);
  for (; sum_chunks(rows) > 1; rows = sum_chunks(rows)) {
    detail::add_chunks(c, rows, columns, from, to, false);
    std::swap(from, to);
  }
  detail::add_chunks(c, rows, columns, from, sums, accumulate);
}

}  // namespace lockstep::cuda_backend
