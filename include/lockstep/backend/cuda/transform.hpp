// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <lockstep/core/config.hpp>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <string_view>

#include <cuda/std/tuple>

#include <lockstep/backend/cuda/context.hpp>
#include <lockstep/backend/cuda/element_packet.hpp>
#include <lockstep/backend/cuda/launch.hpp>

/// \file
/// Functions of elements. cub::DeviceTransform is not used: in CCCL 3.0.1, which CUDA 13.0 has, it keeps the size of
/// tiles that its first call chose for that call's n, so that a small first call slows down all later ones. Here a grid
/// follows from n alone.

namespace lockstep::cuda_backend {

/// Packets of Width elements that a thread loads before it stores any: 32 bytes of each float input, and so 64 KB under
/// way in a multiprocessor.
template <int Width>
inline constexpr int transform_packets = Width > 1 ? 2 : 8;

/// out[i] = f(in[i]...). Addresses are those of whole packets of Width elements; block 0 does what no packet holds.
template <int Threads, int Width, class Function, class Out, class... In>
__global__ void __launch_bounds__(Threads) transform_kernel(std::int64_t n, Function f, Out* out, const In*... in) {
  using loaded = ::cuda::std::tuple<element_packet<In, Width>...>;
  constexpr int at_once = transform_packets<Width>;
  const std::int64_t packets = n / Width;
  const std::int64_t first = std::int64_t{blockIdx.x} * Threads * at_once + threadIdx.x;
  loaded from[at_once];
#pragma unroll
  for (int k = 0; k < at_once; ++k) {
    const std::int64_t p = first + std::int64_t{k} * Threads;
    if (p < packets) from[k] = loaded{reinterpret_cast<const element_packet<In, Width>*>(in)[p]...};
  }
#pragma unroll
  for (int k = 0; k < at_once; ++k) {
    const std::int64_t p = first + std::int64_t{k} * Threads;
    if (p >= packets) continue;
    element_packet<Out, Width> to;
#pragma unroll
    for (int e = 0; e < Width; ++e)
      to.values[e] = ::cuda::std::apply([&](const auto&... each) { return f(each.values[e]...); }, from[k]);
    reinterpret_cast<element_packet<Out, Width>*>(out)[p] = to;
  }
  if constexpr (Width > 1)
    if (const std::int64_t i = packets * Width + threadIdx.x; blockIdx.x == 0 && i < n) out[i] = f(in[i]...);
}

/// out[i] = f(in[i]...) for n elements. `out` may be one of the `in`.
template <class Function, class Out, class... In>
void transform(context& c, std::string_view what, std::int64_t n, Function f, Out* out, const In*... in) {
  if (n == 0) return;
  constexpr int width = 16 / static_cast<int>((std::max)({sizeof(Out), sizeof(In)...}));
  const auto start = [&](auto kernel, int each, int at_once) {
    const std::int64_t blocks = blocks_for(n / each, std::int64_t{at_once} * block_threads);
    launch(c, what, kernel, (std::max)(blocks, std::int64_t{1}), block_threads, n, f, out, in...);
  };
  if (fits_packets<width>(width, out) && (fits_packets<width>(width, in) && ...))
    start(&transform_kernel<block_threads, width, Function, Out, In...>, width, transform_packets<width>);
  else
    start(&transform_kernel<block_threads, 1, Function, Out, In...>, 1, transform_packets<1>);
}

}  // namespace lockstep::cuda_backend
