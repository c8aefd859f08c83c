// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <cstdint>

#include <lockstep/backend/cuda/context.hpp>
#include <lockstep/backend/cuda/element_packet.hpp>
#include <lockstep/backend/cuda/elementwise.hpp>
#include <lockstep/backend/cuda/launch.hpp>
#include <lockstep/core/config.hpp>

/// \file
/// The gradient of a linear layer's input, where a relu made that input, in one pass. A product and a separate mask
/// move every element four times: the product writes it, and the mask reads it, reads the relu's output and writes it
/// again. One pass reads the relu's output and writes the gradient. With so few outputs the product itself costs next
/// to nothing.

namespace lockstep::cuda_backend {

/// Outputs up to which a layer's products take less time than moving its input, of elements A.
template <class A>
inline constexpr std::int64_t most_masked_outputs = 8 * std::int64_t{sizeof(A)};

/// Samples for which a thread uses each of the weights that it has loaded.
inline constexpr int gradient_samples = 8;

/// A thread takes a packet of columns of `gradient_samples` samples. It reads all that it needs of x before it
/// computes, so that many reads are under way. Consecutive blocks have the same columns, whose weights are then in the
/// cache. A thread adds an element's products in the order of the outputs, by fused multiply-adds, so that the
/// element's bits depend neither on Width nor on the number of samples.
template <class A, int Threads, int Width>
__global__ void __launch_bounds__(Threads)
    masked_gradient_kernel(std::int64_t samples, std::int64_t packets_in_row, std::int64_t out, std::uint32_t groups,
                           const A* LOCKSTEP_RESTRICT dy, const element_packet<A, Width>* LOCKSTEP_RESTRICT w,
                           const element_packet<A, Width>* x, element_packet<A, Width>* dx) {
  const std::int64_t column = std::int64_t{blockIdx.x / groups} * Threads + threadIdx.x;
  if (column >= packets_in_row) return;
  const std::int64_t first = std::int64_t{blockIdx.x % groups} * gradient_samples;
  const int last = static_cast<int>(min(samples - first, std::int64_t{gradient_samples})) - 1;
  const std::int64_t begin = first * packets_in_row + column;

  element_packet<A, Width> values[gradient_samples];  // past the last sample its values again, unused
#pragma unroll
  for (int s = 0; s < gradient_samples; ++s) values[s] = x[begin + min(s, last) * packets_in_row];
  float sums[gradient_samples][Width] = {};
  for (std::int64_t o = 0; o < out; ++o) {
    const element_packet<A, Width> weights = w[o * packets_in_row + column];
#pragma unroll
    for (int s = 0; s < gradient_samples; ++s) {
      const float gradient = static_cast<float>(dy[(first + min(s, last)) * out + o]);
#pragma unroll
      for (int k = 0; k < Width; ++k) sums[s][k] = fmaf(gradient, static_cast<float>(weights.values[k]), sums[s][k]);
    }
  }
#pragma unroll
  for (int s = 0; s < gradient_samples; ++s) {
    element_packet<A, Width> masked;
#pragma unroll
    for (int k = 0; k < Width; ++k) masked.values[k] = relu_gradient{}(values[s].values[k], static_cast<A>(sums[s][k]));
    if (s <= last) dx[begin + s * packets_in_row] = masked;
  }
}

namespace detail {

template <int Width, class A>
void launch_masked_gradient(context& c, std::int64_t samples, std::int64_t in, std::int64_t out, const A* dy,
                            const A* w, const A* x, A* dx) {
  using packet_type = element_packet<A, Width>;
  constexpr int threads = 128;
  const std::int64_t groups = blocks_for(samples, gradient_samples);
  launch(c, "an input's gradient", masked_gradient_kernel<A, threads, Width>, groups * blocks_for(in / Width, threads),
         threads, samples, in / Width, out, static_cast<std::uint32_t>(groups), dy,
         reinterpret_cast<const packet_type*>(w), reinterpret_cast<const packet_type*>(x),
         reinterpret_cast<packet_type*>(dx));
}

}  // namespace detail

/// dx (samples x in) = dy (samples x out) w (out x in), but 0 where x <= 0. dx may be x.
template <class A>
void masked_input_gradient(context& c, std::int64_t samples, std::int64_t in, std::int64_t out, const A* dy, const A* w,
                           const A* x, A* dx) {
  if (fits_packets<widest_packet<A>>(in, w, x, dx))
    detail::launch_masked_gradient<widest_packet<A>>(c, samples, in, out, dy, w, x, dx);
  else
    detail::launch_masked_gradient<1>(c, samples, in, out, dy, w, x, dx);
}

}  // namespace lockstep::cuda_backend
