// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <cstdint>

#include <lockstep/backend/channel_layout.hpp>
#include <lockstep/backend/cuda/context.hpp>
#include <lockstep/backend/cuda/launch.hpp>
#include <lockstep/backend/step_values.hpp>
#include <lockstep/core/random.hpp>

namespace lockstep::cuda_backend {

/// Channels whose factors a block keeps, and elements of each that it then multiplies.
inline constexpr std::int64_t dropout_channels_at_once = 256;
inline constexpr std::int64_t dropout_pixels_at_once = 64;

/// Each block takes some channels and some pixels of one sample.
template <int Threads, class A>
__global__ void __launch_bounds__(Threads)
    dropout_channels_kernel(std::int64_t blocks, std::int64_t channel_blocks, std::int64_t pixel_blocks,
                            channel_layout layout, float p, dropout_key key, const A* x, A* y) {
  __shared__ float factors[dropout_channels_at_once];
  const step_values now = *key.now;
  const float keep = p < 1.F ? 1.F / (1.F - p) : 0.F;
  for (std::int64_t b = blockIdx.x; b < blocks; b += gridDim.x) {
    const std::int64_t sample = b / (channel_blocks * pixel_blocks);
    const std::int64_t first = b / pixel_blocks % channel_blocks * dropout_channels_at_once;
    const std::int64_t channels = min(dropout_channels_at_once, layout.channels - first);
    const std::int64_t begin = b % pixel_blocks * dropout_pixels_at_once;
    const std::int64_t pixels = min(dropout_pixels_at_once, layout.pixels - begin);
    const random_stream stream(seed{now.seed}, random_purpose::dropout, (now.step << 16U) | key.layer,
                               static_cast<std::uint64_t>(now.first_sample + key.first_sample + sample));
    for (std::int64_t k = threadIdx.x; k < channels; k += Threads)
      factors[k] = stream.uniform(static_cast<std::uint64_t>(first + k)) < p ? 0.F : keep;
    __syncthreads();
    for (std::int64_t i = threadIdx.x; i < channels * pixels; i += Threads) {
      const std::int64_t k = layout.channels_last ? i % channels : i / pixels;
      const std::int64_t pixel = begin + (layout.channels_last ? i / channels : i % pixels);
      const std::int64_t at = sample * layout.size() + layout.at(first + k, pixel);
      y[at] = static_cast<A>(static_cast<float>(x[at]) * factors[k]);
    }
    __syncthreads();  // before the next factors
  }
}

/// y = x times the factor of its channel, drawn as `for_each_channel_factor` does; y may be x. key.now lies in the
/// device's memory.
template <class A>
void dropout_channels(context& c, std::int64_t samples, const channel_layout& layout, float p, const dropout_key& key,
                      const A* x, A* y) {
  if (samples == 0) return;
  const std::int64_t channel_blocks = blocks_for(layout.channels, dropout_channels_at_once);
  const std::int64_t pixel_blocks = blocks_for(layout.pixels, dropout_pixels_at_once);
  const std::int64_t blocks = samples * channel_blocks * pixel_blocks;
  launch(c, "dropout of channels", dropout_channels_kernel<block_threads, A>, blocks_for(blocks, 1), block_threads,
         blocks, channel_blocks, pixel_blocks, layout, p, key, x, y);
}

}  // namespace lockstep::cuda_backend
