// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <algorithm>
#include <cstdint>

#include <lockstep/backend/cuda/bias.hpp>
#include <lockstep/backend/cuda/context.hpp>
#include <lockstep/backend/cuda/element_packet.hpp>
#include <lockstep/backend/cuda/elementwise.hpp>
#include <lockstep/backend/cuda/launch.hpp>
#include <lockstep/backend/geometry.hpp>
#include <lockstep/core/config.hpp>

/// \file
/// Both gradients of a linear layer with few outputs and a large input that a relu made, in one pass over that input:
/// the weights' gradient reads the input, and so does the mask of the input's gradient.

namespace lockstep::cuda_backend {

/// How the samples are cut into parts. Each part makes its own gradient of the weights; these are added up afterwards.
struct narrow_backward_parts {
  std::int64_t samples = 1;  ///< in a part
  std::int64_t count = 1;

  /// Follows from the shape alone, because the sums' bits depend on the cut: enough parts to fill a large device with
  /// threads, but at most one for every 16 samples (rounded up), and so few that `column_sums` adds them up at once.
  [[nodiscard]] static constexpr narrow_backward_parts of(std::int64_t samples, std::int64_t in) {
    constexpr std::int64_t wanted_threads = std::int64_t{1} << 17U;
    constexpr std::int64_t columns_of_thread = 4;
    const std::int64_t wanted =
        std::max<std::int64_t>(1, wanted_threads * columns_of_thread / std::max<std::int64_t>(in, 1));
    const std::int64_t most =
        std::clamp<std::int64_t>((samples + 15) / 16, 1, std::min<std::int64_t>(wanted, sum_rows));
    const std::int64_t each = std::max<std::int64_t>(1, (samples + most - 1) / most);
    return {.samples = each, .count = (samples + each - 1) / each};
  }
};

inline constexpr std::int64_t most_narrow_outputs = 16;

/// Whether one pass moves less memory than two: the input is larger than a cache, and the parts' gradients are small
/// beside it.
template <class A>
[[nodiscard]] constexpr bool takes_narrow_backward(const linear_geometry& g, std::int64_t samples) {
  constexpr std::int64_t beyond_cache = (std::int64_t{1} << 25U) / std::int64_t{sizeof(A)};  // elements
  return g.mask_input && g.input_gradient && g.parameter_gradient && g.out <= most_narrow_outputs &&
         g.in * samples >= beyond_cache && 8 * narrow_backward_parts::of(samples, g.in).count * g.out <= samples;
}

/// A thread takes a packet of columns through the samples of a part, and keeps the weights of these columns in
/// registers. It adds in the order of the outputs and of the samples, by fused multiply-adds, so that no bit depends on
/// Width.
template <class A, int Threads, int Width, int Outputs>
__global__ void __launch_bounds__(Threads)
    narrow_backward_kernel(std::int64_t samples, std::int64_t packets_in_row, int out, std::int64_t part_samples,
                           std::uint32_t parts, const A* LOCKSTEP_RESTRICT dy,
                           const element_packet<A, Width>* LOCKSTEP_RESTRICT w, const element_packet<A, Width>* x,
                           element_packet<A, Width>* dx, element_packet<float, Width>* LOCKSTEP_RESTRICT dw) {
  constexpr int ahead = 4;  // samples whose x is read at once
  const std::int64_t column = std::int64_t{blockIdx.x / parts} * Threads + threadIdx.x;
  if (column >= packets_in_row) return;
  const std::int64_t part = blockIdx.x % parts;
  const std::int64_t end = min((part + 1) * part_samples, samples);

  element_packet<A, Width> weights[Outputs] = {};
  element_packet<float, Width> sums[Outputs] = {};
#pragma unroll
  for (int o = 0; o < Outputs; ++o)
    if (o < out) weights[o] = w[o * packets_in_row + column];
  for (std::int64_t first = part * part_samples; first < end; first += ahead) {
    element_packet<A, Width> values[ahead];
#pragma unroll
    for (int s = 0; s < ahead; ++s) values[s] = x[min(first + s, end - 1) * packets_in_row + column];
#pragma unroll
    for (int s = 0; s < ahead; ++s) {
      if (first + s < end) {
        float gradient[Width] = {};
#pragma unroll
        for (int o = 0; o < Outputs; ++o) {
          const float d = o < out ? static_cast<float>(dy[(first + s) * out + o]) : 0.F;
#pragma unroll
          for (int k = 0; k < Width; ++k) {
            gradient[k] = fmaf(d, static_cast<float>(weights[o].values[k]), gradient[k]);
            sums[o].values[k] = fmaf(d, static_cast<float>(values[s].values[k]), sums[o].values[k]);
          }
        }
        element_packet<A, Width> masked;
#pragma unroll
        for (int k = 0; k < Width; ++k)
          masked.values[k] = relu_gradient{}(values[s].values[k], static_cast<A>(gradient[k]));
        dx[(first + s) * packets_in_row + column] = masked;
      }
    }
  }
#pragma unroll
  for (int o = 0; o < Outputs; ++o)
    if (o < out) dw[(part * out + o) * packets_in_row + column] = sums[o];
}

namespace detail {

template <int Width, int Outputs, class A>
void launch_narrow_backward(context& c, std::int64_t samples, std::int64_t in, std::int64_t out,
                            const narrow_backward_parts& parts, const A* dy, const A* w, const A* x, A* dx, float* dw) {
  using packet_type = element_packet<A, Width>;
  constexpr int threads = 128;
  launch(c, "both gradients of a linear layer", narrow_backward_kernel<A, threads, Width, Outputs>,
         parts.count * blocks_for(in / Width, threads), threads, samples, in / Width, static_cast<int>(out),
         parts.samples, static_cast<std::uint32_t>(parts.count), dy, reinterpret_cast<const packet_type*>(w),
         reinterpret_cast<const packet_type*>(x), reinterpret_cast<packet_type*>(dx),
         reinterpret_cast<element_packet<float, Width>*>(dw));
}

template <int Width, class... Arguments>
void choose_narrow_backward(context& c, std::int64_t samples, std::int64_t in, std::int64_t out,
                            const Arguments&... arguments) {
  if (out <= 4)
    launch_narrow_backward<Width, 4>(c, samples, in, out, arguments...);
  else if (out <= 10)  // many small data sets have 10 classes
    launch_narrow_backward<Width, 10>(c, samples, in, out, arguments...);
  else
    launch_narrow_backward<Width, most_narrow_outputs>(c, samples, in, out, arguments...);
}

}  // namespace detail

/// Bytes of the context's workspace that `narrow_backward` asks for.
[[nodiscard]] constexpr std::int64_t narrow_backward_workspace(std::int64_t samples, std::int64_t in,
                                                               std::int64_t out) {
  return narrow_backward_parts::of(samples, in).count * out * in * std::int64_t{sizeof(float)};
}

/// dx (samples x in) = dy (samples x out) w (out x in), but 0 where x <= 0, and dw (+)= dy^T x, for at most
/// most_narrow_outputs outputs. dx may be x. Uses the context's workspace.
template <class A>
void narrow_backward(context& c, std::int64_t samples, std::int64_t in, std::int64_t out, const A* dy, const A* w,
                     const A* x, A* dx, float* dw, bool accumulate) {
  const auto parts = narrow_backward_parts::of(samples, in);
  auto* const sums = static_cast<float*>(c.workspace(narrow_backward_workspace(samples, in, out)));
  // The sums and weights of wider packets would not fit in registers.
  if (fits_packets<4>(in, w, x, dx))
    detail::choose_narrow_backward<4>(c, samples, in, out, parts, dy, w, x, dx, sums);
  else
    detail::choose_narrow_backward<1>(c, samples, in, out, parts, dy, w, x, dx, sums);
  column_sums(c, parts.count, out * in, sums, dw, accumulate);
}

}  // namespace lockstep::cuda_backend
