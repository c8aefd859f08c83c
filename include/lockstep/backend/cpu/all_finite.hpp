// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <cstdint>
#include <type_traits>

#include <lockstep/backend/cpu/simd.hpp>
#include <lockstep/core/config.hpp>

namespace lockstep::cpu_backend {

/// *finite = no x is NaN or infinite: only a finite x times zero is zero.
struct all_finite_kernel {
  template <class V>
  static LOCKSTEP_ALWAYS_INLINE void run(std::int64_t n, const float* x, bool* finite) {
    constexpr int vectors = 4;  // independent sums
    const V zero{};
    V sums[vectors] = {};
    std::int64_t i = 0;
    for (; i + vectors * lanes<V> <= n; i += vectors * lanes<V>)
#pragma GCC unroll 4
      for (int k = 0; k < vectors; ++k) {
        V v;
        load(v, x + i + k * lanes<V>);
        sums[k] += v * zero;
      }
    float rest = 0;
    for (; i < n; ++i) rest += x[i] * 0.F;
    *finite = sum_lanes((sums[0] + sums[1]) + (sums[2] + sums[3])) + rest == 0;
  }
};

/// True when none of n numbers is NaN or infinite. Cost: one read of x, at the speed of memory.
[[nodiscard]] inline bool all_finite(std::int64_t n, const float* x) {
  bool finite = true;
  if (has_avx2())
    with_widest([&]<class V>(std::type_identity<V>) { run_for<V, all_finite_kernel>(n, x, &finite); });
  else
    all_finite_kernel::run<float_x8>(n, x, &finite);
  return finite;
}

}  // namespace lockstep::cpu_backend
