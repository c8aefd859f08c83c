// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <cmath>
#include <cstdint>

#include <lockstep/backend/channel_layout.hpp>
#include <lockstep/backend/cuda/context.hpp>
#include <lockstep/backend/cuda/launch.hpp>
#include <lockstep/backend/cuda/sums.hpp>

namespace lockstep::cuda_backend {

/// Where the row of a pixel's channels begins, and how far apart its elements lie.
struct softmax_row {
  std::int64_t first;
  std::int64_t stride;

  __device__ softmax_row(const channel_layout& layout, std::int64_t row)
      : first(row / layout.pixels * layout.size() + layout.at(0, row % layout.pixels)),
        stride(layout.channels_last ? 1 : layout.pixels) {}
  [[nodiscard]] __device__ std::int64_t at(std::int64_t k) const { return first + k * stride; }
};

/// Team threads a row. Host counterpart: host::softmax_rows.
template <class A, int Threads, int Team>
__global__ void __launch_bounds__(Threads)
    softmax_kernel(std::int64_t rows, channel_layout layout, bool logarithm, const A* x, A* y) {
  constexpr int teams = Threads / Team;
  __shared__ team_sums<Threads, Team> shared;
  const int lane = static_cast<int>(threadIdx.x) % Team;
  for (std::int64_t r = std::int64_t{blockIdx.x} * teams + threadIdx.x / Team; r < rows;
       r += std::int64_t{gridDim.x} * teams) {
    const softmax_row row(layout, r);
    const auto in = [&](std::int64_t k) { return static_cast<float>(x[row.at(k)]); };
    float top = -INFINITY;
    for (std::int64_t k = lane; k < layout.channels; k += Team) top = in(k) > top ? in(k) : top;
    top = shared.largest(top);
    double sum = 0;
    for (std::int64_t k = lane; k < layout.channels; k += Team) sum += double{expf(in(k)-top)};
    sum = shared.sum(sum);
    const auto log_sum = static_cast<float>(log(sum));
    const auto inverse = static_cast<float>(1 / sum);
    for (std::int64_t k = lane; k < layout.channels; k += Team)
      y[row.at(k)] = static_cast<A>(logarithm ? in(k)-top - log_sum : expf(in(k)-top) * inverse);
  }
}

/// Team threads a row. Host counterpart: host::softmax_rows_backward.
template <class A, int Threads, int Team>
__global__ void __launch_bounds__(Threads)
    softmax_backward_kernel(std::int64_t rows, channel_layout layout, bool logarithm, const A* y, const A* dy, A* dx) {
  constexpr int teams = Threads / Team;
  __shared__ team_sums<Threads, Team> shared;
  const int lane = static_cast<int>(threadIdx.x) % Team;
  for (std::int64_t r = std::int64_t{blockIdx.x} * teams + threadIdx.x / Team; r < rows;
       r += std::int64_t{gridDim.x} * teams) {
    const softmax_row row(layout, r);
    const auto out = [&](std::int64_t k) { return static_cast<float>(y[row.at(k)]); };
    const auto gradient = [&](std::int64_t k) { return static_cast<float>(dy[row.at(k)]); };
    double sum = 0;
    for (std::int64_t k = lane; k < layout.channels; k += Team)
      sum += logarithm ? double{gradient(k)} : double{out(k)} * double{gradient(k)};
    const auto total = static_cast<float>(shared.sum(sum));
    for (std::int64_t k = lane; k < layout.channels; k += Team)
      dx[row.at(k)] = static_cast<A>(logarithm ? gradient(k) - expf(out(k)) * total : out(k) * (gradient(k) - total));
  }
}

/// Rows of more elements than this are a block's work each; shorter ones, a warp's.
inline constexpr std::int64_t longest_row_of_a_warp = 1024;

/// The softmax of the channels of each pixel, or its logarithm. y may be x.
template <class A>
void softmax_rows(context& c, std::int64_t samples, const channel_layout& layout, bool logarithm, const A* x, A* y) {
  const std::int64_t rows = samples * layout.pixels;
  const auto run = [&](auto* kernel, int team) {
    launch(c, "a softmax", kernel, blocks_for(rows, block_threads / team), block_threads, rows, layout, logarithm, x,
           y);
  };
  if (layout.channels > longest_row_of_a_warp)
    run(softmax_kernel<A, block_threads, block_threads>, block_threads);
  else
    run(softmax_kernel<A, block_threads, 32>, 32);
}

/// Its gradient from the output. dx may be dy.
template <class A>
void softmax_rows_backward(context& c, std::int64_t samples, const channel_layout& layout, bool logarithm, const A* y,
                           const A* dy, A* dx) {
  const std::int64_t rows = samples * layout.pixels;
  const auto run = [&](auto* kernel, int team) {
    launch(c, "a softmax's gradient", kernel, blocks_for(rows, block_threads / team), block_threads, rows, layout,
           logarithm, y, dy, dx);
  };
  if (layout.channels > longest_row_of_a_warp)
    run(softmax_backward_kernel<A, block_threads, block_threads>, block_threads);
  else
    run(softmax_backward_kernel<A, block_threads, 32>, 32);
}

}  // namespace lockstep::cuda_backend
