// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>

#include <lockstep/backend/cpu/context.hpp>
#include <lockstep/backend/cpu/loop.hpp>
#include <lockstep/backend/dropout_mask.hpp>
#include <lockstep/backend/geometry.hpp>

namespace lockstep::cpu_backend {

/// y = max(0, x); NaN stays NaN, as in torch.nn.functional.relu. x and y may be the same range.
inline void relu_forward(context&, std::int64_t n, const float* x, float* y) {
  loop(n, [=](std::int64_t i) { y[i] = x[i] < 0.F ? 0.F : x[i]; });
}

/// dx = 0 where y <= 0, else dy (where y is NaN too, as in PyTorch). dy and dx may be the same range.
inline void relu_backward(context&, std::int64_t n, const float* y, const float* dy, float* dx) {
  loop(n, [=](std::int64_t i) { dx[i] = y[i] <= 0.F ? 0.F : dy[i]; });
}

/// y = x * mask / (1 - p) for `samples` samples of `size` elements, channels-last when `picture` has rank 3. Forward
/// and backward are the same map.
inline void dropout(context&, std::int64_t samples, std::int64_t size, const dims& picture, float p,
                    const dropout_key& key, const float* x, float* y) {
  for (std::int64_t s = 0; s < samples; ++s)
    for_each_dropout_factor(key, s, size, picture, p,
                            [&](std::int64_t i, float factor) { y[s * size + i] = x[s * size + i] * factor; });
}

/// Elements [first, last): g = the sum of the N gradients in rank order, then rule(g, parameter, state...), in one
/// pass. `rule` is called as rule(float g, float& parameter, float& state0, ...) with States states.
template <std::size_t N, std::size_t States, class Rule>
void reduce_and_update(context&, std::int64_t first, std::int64_t last, const std::array<const float*, N>& gradients,
                       float* parameters, const std::array<float*, States>& states, const Rule& rule) {
  constexpr std::int64_t block = 4 * loop_block;
  float sum[block];
  for (std::int64_t start = first; start < last; start += block) {
    const std::int64_t count = last - start < block ? last - start : block;
    const float* g = gradients[0] + start;
    if constexpr (N > 1) {
      const float* a = gradients[0] + start;
      const float* b = gradients[1] + start;
      float* s = sum;
      loop(count, [=](std::int64_t i) { s[i] = a[i] + b[i]; });
      for (std::size_t k = 2; k < N; ++k) {
        const float* next = gradients[k] + start;
        loop(count, [=](std::int64_t i) { s[i] += next[i]; });
      }
      g = sum;
    }
    float* p = parameters + start;
    if constexpr (States == 0) {
      loop(count, [=](std::int64_t i) { rule(g[i], p[i]); });
    } else if constexpr (States == 1) {
      float* s0 = states[0] + start;
      loop(count, [=](std::int64_t i) { rule(g[i], p[i], s0[i]); });
    } else {
      static_assert(States == 2, "lockstep: an optimizer keeps at most two states for each parameter");
      float* s0 = states[0] + start;
      float* s1 = states[1] + start;
      loop(count, [=](std::int64_t i) { rule(g[i], p[i], s0[i], s1[i]); });
    }
  }
}

}  // namespace lockstep::cpu_backend
