// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <algorithm>
#include <cstdint>

#include <lockstep/core/tensor.hpp>

namespace lockstep::reference_backend {

/// The channel of element i of an output.
template <auto G>
[[nodiscard]] constexpr std::int64_t out_channel(std::int64_t i) {
  return i / (G.out().height * G.out().width) % G.out_channels;
}

/// The gradients of a convolution, transposed or not, by its definition. `each_tap(f)` calls f(input index, weight
/// index, output index) for every product; `sums` has room for the gradients of weights and bias.
template <auto G, class EachTap, class A, class T>
void tap_gradients(std::int64_t samples, const EachTap& each_tap, const A* x, const A* dy, const A* w, A* dx, T* dw,
                   T* db, bool accumulate, aligned_buffer<T>& sums) {
  T* fresh = sums.data();
  T* fresh_bias = fresh + G.weight_size();
  std::fill_n(fresh, sums.size(), T{0});
  if constexpr (G.input_gradient) std::fill_n(dx, samples * G.in_size(), A{0});
  each_tap([&](std::int64_t xi, std::int64_t wi, std::int64_t yi) {
    if constexpr (G.parameter_gradient) fresh[wi] += T{x[xi]} * T{dy[yi]};
    if constexpr (G.input_gradient) dx[xi] += w[wi] * dy[yi];
  });
  if constexpr (G.parameter_gradient) {
    for (std::int64_t i = 0; i < G.weight_size(); ++i) dw[i] = accumulate ? dw[i] + fresh[i] : fresh[i];
    if constexpr (G.bias) {
      for (std::int64_t i = 0; i < samples * G.out_size(); ++i) fresh_bias[out_channel<G>(i)] += dy[i];
      for (std::int64_t i = 0; i < G.out_channels; ++i) db[i] = accumulate ? db[i] + fresh_bias[i] : fresh_bias[i];
    }
  }
}

}  // namespace lockstep::reference_backend
