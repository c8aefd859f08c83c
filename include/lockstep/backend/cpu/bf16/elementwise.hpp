// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <algorithm>
#include <cstdint>

#include <lockstep/backend/cpu/bf16/element.hpp>
#include <lockstep/backend/cpu/column_sums.hpp>
#include <lockstep/backend/cpu/loop.hpp>
#include <lockstep/backend/cpu/map.hpp>
#include <lockstep/backend/cpu/simd.hpp>
#include <lockstep/core/config.hpp>

namespace lockstep::cpu_backend::bf16 {

/// True for the bits of numbers from minus infinity to `highest`, which is 0x8000 for -0 and 0x8001 for the number
/// before it. No NaN is among them.
[[nodiscard]] LOCKSTEP_ALWAYS_INLINE bool is_below(std::uint16_t bits, std::uint16_t highest) {
  return static_cast<std::uint16_t>(bits - highest) <= static_cast<std::uint16_t>(0xFF80U - highest);
}

/// See cpu_backend::relu_forward.
inline void relu_forward(std::int64_t n, const element* x, element* y) {
  loop(n, [=](std::int64_t i) {
    const std::uint16_t bits = x[i].bits();
    y[i] = element::of_bits(is_below(bits, 0x8001U) ? std::uint16_t{0} : bits);
  });
}

/// See cpu_backend::relu_backward.
inline void relu_backward(std::int64_t n, const element* y, const element* dy, element* dx) {
  loop(n, [=](std::int64_t i) {
    const std::uint16_t bits = y[i].bits();
    const std::uint16_t gradient = dy[i].bits();
    dx[i] = element::of_bits(bits == 0 || is_below(bits, 0x8000U) ? std::uint16_t{0} : gradient);
  });
}

/// See cpu_backend::sum.
struct sum_kernel {
  template <class V>
  static LOCKSTEP_ALWAYS_INLINE void run(std::int64_t n, const element* a, const element* b, bool with_relu,
                                         element* y) {
    for (std::int64_t i = 0; i < n; i += lanes<V>) {
      V v, addend;
      load_first(v, a + i, n - i);
      load_first(addend, b + i, n - i);
      v += addend;
      if (with_relu) relu(v);
      store_first(y + i, v, n - i);
    }
  }
};

inline void sum(std::int64_t n, const element* a, const element* b, bool with_relu, element* y) {
  run_for<float_x16, sum_kernel>(n, a, b, with_relu, y);
}

/// See cpu_backend::column_sums.
inline void column_sums(std::int64_t rows, std::int64_t columns, const element* x, float* sums) {
  for (std::int64_t first = 0; first < rows; first += column_sums_piece) {
    const element* const from = x + first * columns;
    run_for<float_x16, column_sums_kernel>((std::min)(column_sums_piece, rows - first), columns, from, sums, first > 0);
  }
}

template <class F>
void map(std::int64_t n, const F& f, const element* x, element* y) {
  run_for<float_x16, map_kernel<F>>(n, f, x, y);
}

template <class F>
void map_backward(std::int64_t n, const F& f, const element* x, const element* y, const element* dy, element* dx) {
  run_for<float_x16, map_backward_kernel<F>>(n, f, F::derivative_reads_output ? y : x, dy, dx);
}

}  // namespace lockstep::cpu_backend::bf16
