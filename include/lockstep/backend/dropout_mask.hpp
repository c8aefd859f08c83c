// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <algorithm>
#include <cstdint>

#include <lockstep/backend/step_values.hpp>
#include <lockstep/core/random.hpp>
#include <lockstep/core/shape.hpp>

namespace lockstep {

/// Calls f(i, factor) for every element of one sample: factor is 0 with probability p, else 1 / (1 - p). The draws
/// depend only on (seed, step, layer, global sample index, index of the element in PyTorch's order), so that a sample
/// gets the same factors on any replica of any backend. `picture` has rank 3 when the elements lie channels-last.
template <class F>
void for_each_dropout_factor(const dropout_key& key, std::int64_t sample, std::int64_t size, const dims& picture,
                             float p, const F& f) {
  const std::int64_t pixels = picture.rank == 3 ? picture[1] * picture[2] : 1;
  const std::int64_t channels = picture.rank == 3 ? picture[0] : 1;
  const step_values& now = *key.now;
  const random_stream stream(seed{now.seed}, random_purpose::dropout, (now.step << 16U) | key.layer,
                             static_cast<std::uint64_t>(now.first_sample + key.first_sample + sample));
  const float keep = p < 1.F ? 1.F / (1.F - p) : 0.F;
  for (std::int64_t start = 0; start < size; start += 4) {
    const auto bits = stream.block(static_cast<std::uint64_t>(start / 4));
    const std::int64_t count = std::min<std::int64_t>(4, size - start);
    for (std::int64_t k = 0; k < count; ++k)
      f(channels == 1 ? start + k : (start + k) % pixels * channels + (start + k) / pixels,
        to_unit_float(bits[static_cast<std::size_t>(k)]) < p ? 0.F : keep);
  }
}

/// Calls f(channel, factor) for every channel of one sample: factor is 0 with probability p, else 1 / (1 - p). The
/// draws depend only on (seed, step, layer, global sample index, channel).
template <class F>
void for_each_channel_factor(const dropout_key& key, std::int64_t sample, std::int64_t channels, float p, const F& f) {
  for_each_dropout_factor(key, sample, channels, dims{}, p, f);
}

}  // namespace lockstep
