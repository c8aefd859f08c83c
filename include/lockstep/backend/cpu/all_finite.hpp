// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <cstdint>
#include <type_traits>

#include <lockstep/backend/cpu/simd.hpp>
#include <lockstep/core/config.hpp>

namespace lockstep::cpu_backend {

/// *finite = no x is NaN or infinite: times zero, all others are zero.
struct all_finite_kernel {
  template <class V>
  static LOCKSTEP_ALWAYS_INLINE void run(std::int64_t n, const float* x, bool* finite) {
    constexpr int vectors = 4;  // sums that do not wait for each other
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

/// Whether none of n numbers is NaN or infinite. At the speed of the memory they lie in.
[[nodiscard]] inline bool all_finite(std::int64_t n, const float* x) {
  bool finite = true;
  if (has_avx2())
    with_widest([&]<class V>(std::type_identity<V>) { run_for<V, all_finite_kernel>(n, x, &finite); });
  else
    all_finite_kernel::run<float_x8>(n, x, &finite);
  return finite;
}

}  // namespace lockstep::cpu_backend
