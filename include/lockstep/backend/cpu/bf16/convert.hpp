// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <algorithm>
#include <cstdint>

#include <lockstep/backend/cpu/bf16/context.hpp>
#include <lockstep/backend/cpu/bf16/element.hpp>
#include <lockstep/backend/cpu/order.hpp>
#include <lockstep/backend/cpu/simd.hpp>
#include <lockstep/core/config.hpp>
#include <lockstep/core/shape.hpp>

namespace lockstep::cpu_backend::bf16 {

struct convert_kernel {
  template <class V, class From, class To>
  static LOCKSTEP_ALWAYS_INLINE void run(std::int64_t n, const From* from, To* to) {
    for (std::int64_t i = 0; i < n; i += lanes<V>) {
      V v;
      load_first(v, from + i, n - i);
      store_first(to + i, v, n - i);
    }
  }
};

/// Converts n elements, each to the nearest. Cost: one read and one write of each.
inline void convert(std::int64_t n, const float* from, element* to) { run_for<float_x16, convert_kernel>(n, from, to); }
inline void convert(std::int64_t n, const element* from, float* to) { run_for<float_x16, convert_kernel>(n, from, to); }

/// Floats that are computed at a time where a kernel of the CPU backend does the work: they stay in the second-level
/// cache from the conversion before the kernel to the one after it.
inline constexpr std::int64_t widened_floats = 32768;

/// Calls f(first, count) for pieces of `rows` rows of `size` elements that are as many as are widened at a time.
template <class F>
void each_piece(std::int64_t rows, std::int64_t size, const F& f) {
  const std::int64_t most = (std::max)(std::int64_t{1}, widened_floats / (std::max)(std::int64_t{1}, size));
  for (std::int64_t first = 0; first < rows; first += most) f(first, (std::min)(most, rows - first));
}

/// n elements as floats in the context's room `Slot`; null for null.
template <std::size_t Slot>
[[nodiscard]] float* widened(context& c, std::int64_t n, const element* from) {
  if (from == nullptr) return nullptr;
  float* const to = c.floats<Slot>(n);
  convert(n, from, to);
  return to;
}

/// Copies n samples of floats from plain to channels-last order, and rounds them.
inline void to_channels_last(context& c, std::int64_t n, const dims& d, const float* x, element* y) {
  const std::int64_t size = d[0] * d[1] * d[2];
  each_piece(n, size, [&](std::int64_t first, std::int64_t count) {
    float* const ordered = c.floats<0>(count * size);
    cpu_backend::to_channels_last(c, count, d, x + first * size, ordered);
    convert(count * size, ordered, y + first * size);
  });
}

}  // namespace lockstep::cpu_backend::bf16
