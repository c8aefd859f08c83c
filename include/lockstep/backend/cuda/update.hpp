// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <type_traits>
#include <utility>

#include <lockstep/backend/cuda/context.hpp>
#include <lockstep/backend/cuda/launch.hpp>
#include <lockstep/backend/cuda/sums.hpp>
#include <lockstep/backend/rule.hpp>
#include <lockstep/backend/tree_sum.hpp>
#include <lockstep/backend/update_terms.hpp>
#include <lockstep/core/config.hpp>

namespace lockstep::cuda_backend {

/// Elements whose squares one block of threads adds up.
inline constexpr std::int64_t square_piece = 4096;

/// sums[k * pieces + j] = the sum of the squares of piece j of the k-th `block` elements of x; `count` sums.
template <int Threads>
__global__ void __launch_bounds__(Threads) square_sums_kernel(std::int64_t n, std::int64_t block, std::int64_t pieces,
                                                              std::int64_t count, const float* x, double* sums) {
  __shared__ team_sums<Threads, Threads> shared;
  for (std::int64_t b = blockIdx.x; b < count; b += gridDim.x) {
    const std::int64_t end = min((b / pieces + 1) * block, n);
    const std::int64_t first = b / pieces * block + b % pieces * square_piece;
    const std::int64_t last = min(first + square_piece, end);
    double total = 0;
    for (std::int64_t i = first + threadIdx.x; i < last; i += Threads) total += double{x[i]} * double{x[i]};
    total = shared.sum(total);
    if (threadIdx.x == 0) sums[b] = total;
  }
}

/// sums[k] = the sum of values[k * pieces] .. values[(k + 1) * pieces - 1].
template <int Threads>
__global__ void __launch_bounds__(Threads)
    piece_sums_kernel(std::int64_t count, std::int64_t pieces, const double* values, double* sums) {
  __shared__ team_sums<Threads, Threads> shared;
  for (std::int64_t k = blockIdx.x; k < count; k += gridDim.x) {
    double total = 0;
    for (std::int64_t i = threadIdx.x; i < pieces; i += Threads) total += values[k * pieces + i];
    total = shared.sum(total);
    if (threadIdx.x == 0) sums[k] = total;
  }
}

/// sums[k] = the sum of the squares of the k-th `block` elements of x, the last block shorter. The order is fixed, so
/// that equal elements give equal bits wherever the range is cut at blocks.
inline void square_sums(context& c, std::int64_t n, std::int64_t block, const float* x, double* sums) {
  if (n == 0) return;
  const std::int64_t count = (n + block - 1) / block;
  const std::int64_t pieces = ((std::min)(block, n) + square_piece - 1) / square_piece;
  if (pieces == 1) {
    launch(c, "sums of squares", square_sums_kernel<block_threads>, blocks_for(count, 1), block_threads, n, block,
           pieces, count, x, sums);
    return;
  }
  auto* parts = static_cast<double*>(c.workspace(count * pieces * std::int64_t{sizeof(double)}));
  launch(c, "sums of squares", square_sums_kernel<block_threads>, blocks_for(count * pieces, 1), block_threads, n,
         block, pieces, count * pieces, x, parts);
  launch(c, "sums of squares", piece_sums_kernel<block_threads>, blocks_for(count, 1), block_threads, count, pieces,
         parts, sums);
}

/// Runs in one block.
template <int Threads>
__global__ void __launch_bounds__(Threads)
    gradient_norm_kernel(std::int64_t blocks, const double* squares, double max_norm, update_terms* out) {
  __shared__ team_sums<Threads, Threads> shared;
  double total = 0;
  for (std::int64_t i = threadIdx.x; i < blocks; i += Threads) total += squares[i];
  total = shared.sum(total);
  if (threadIdx.x != 0) return;
  const double norm = sqrt(total);
  // The small term is that of torch.nn.utils.clip_grad_norm_; a NaN passes on, as there.
  *out = {.norm = norm, .scale = norm <= max_norm ? 1.0 : max_norm / (norm + 1e-6), .finite = isfinite(norm) ? 1 : 0};
}

/// *out = the square root of the sum of `blocks` squares, and the factor that clips gradients to max_norm.
inline void gradient_norm(context& c, std::int64_t blocks, const double* squares, double max_norm, update_terms* out) {
  launch(c, "a gradient's norm", gradient_norm_kernel<block_threads>, 1, block_threads, blocks, squares, max_norm, out);
}

/// The k-th of N gradients at element i, for tree_sum.
template <std::size_t N>
struct gradient_at {
  const std::array<const float*, N>& gradients;
  std::int64_t i;

  template <std::size_t K>
  LOCKSTEP_HOST_DEVICE constexpr float operator()(std::integral_constant<std::size_t, K>) const {
    return std::get<K>(gradients)[i];
  }
};

/// Each thread takes `Elements` elements at once, and reads all of them before it writes any, so that more reads are
/// under way.
template <int Threads, int Elements, std::size_t N, std::size_t States, class Rule>
__global__ void __launch_bounds__(Threads)
    reduce_and_update_kernel(std::int64_t first, std::int64_t last, std::array<const float*, N> gradients,
                             float* parameters, std::array<float*, States> states, Rule given) {
  const auto rule = loaded(given);
  const std::int64_t all = std::int64_t{gridDim.x} * Threads * Elements;
  for (std::int64_t start = first + std::int64_t{blockIdx.x} * Threads * Elements + threadIdx.x; start < last;
       start += all) {
    float g[Elements] = {};
    float p[Elements] = {};
    float s[Elements][States + 1] = {};  // one more than there are, since no array may be empty
    [&]<std::size_t... S>(std::index_sequence<S...>) {
#pragma unroll
      for (int e = 0; e < Elements; ++e) {
        const std::int64_t i = start + std::int64_t{e} * Threads;
        if (i >= last) continue;
        g[e] = tree_sum<0, N>(gradient_at<N>{gradients, i});
        p[e] = parameters[i];
        ((s[e][S] = std::get<S>(states)[i]), ...);
      }
#pragma unroll
      for (int e = 0; e < Elements; ++e) {
        const std::int64_t i = start + std::int64_t{e} * Threads;
        if (i >= last) continue;
        rule(g[e], p[e], s[e][S]...);
        parameters[i] = p[e];
        ((std::get<S>(states)[i] = s[e][S]), ...);
      }
    }(std::make_index_sequence<States>{});
  }
}

inline constexpr int update_elements = 4;

/// Brings the kernel of such a `reduce_and_update` to the current device.
template <std::size_t N, std::size_t States, class Rule>
[[gnu::cold]] void load_reduce_and_update() {
  load(reduce_and_update_kernel<block_threads, update_elements, N, States, Rule>);
}

/// Elements [first, last): g = tree_sum of the N gradients, then rule(g, parameter, state...), in one pass. `rule`, or
/// what its `loaded()` returns in a thread, is called as rule(float g, float& parameter, float& state0, ...) with
/// States states. `rule` is trivially copyable, and its functions called here are LOCKSTEP_HOST_DEVICE.
template <std::size_t N, std::size_t States, class Rule>
void reduce_and_update(cudaStream_t on, std::int64_t first, std::int64_t last,
                       const std::array<const float*, N>& gradients, float* parameters,
                       const std::array<float*, States>& states, const Rule& rule) {
  static_assert(std::is_trivially_copyable_v<Rule>, "lockstep: cuda: a rule is copied to the device");
  if (first >= last) return;
  launch(on, "an update", reduce_and_update_kernel<block_threads, update_elements, N, States, Rule>,
         blocks_for(last - first, std::int64_t{update_elements} * block_threads), block_threads, first, last, gradients,
         parameters, states, rule);
}

/// The same on the context's stream.
template <std::size_t N, std::size_t States, class Rule>
void reduce_and_update(context& c, std::int64_t first, std::int64_t last, const std::array<const float*, N>& gradients,
                       float* parameters, const std::array<float*, States>& states, const Rule& rule) {
  reduce_and_update(c.stream(), first, last, gradients, parameters, states, rule);
}

}  // namespace lockstep::cuda_backend
