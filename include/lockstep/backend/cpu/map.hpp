// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <cstddef>
#include <cstdint>

#include <lockstep/backend/cpu/context.hpp>
#include <lockstep/backend/cpu/simd.hpp>
#include <lockstep/backend/element_functions.hpp>
#include <lockstep/core/config.hpp>

namespace lockstep::cpu_backend {

/// See host::map. The last elements, which fill no vector, go through the very same instructions, so that an element's
/// bits do not depend on where it lies.
template <class F>
struct map_kernel {
  template <class V, class A>
  static LOCKSTEP_ALWAYS_INLINE void run(std::int64_t n, F f, const A* x, A* y) {
    for (std::int64_t i = 0; i < n; i += lanes<V>) {
      V v;
      load_first(v, x + i, n - i);
      f(v);
      store_first(y + i, v, n - i);
    }
  }
};

/// See host::map_backward; `from` is x or y.
template <class F>
struct map_backward_kernel {
  template <class V, class A>
  static LOCKSTEP_ALWAYS_INLINE void run(std::int64_t n, F f, const A* from, const A* dy, A* dx) {
    for (std::int64_t i = 0; i < n; i += lanes<V>) {
      V v, g;
      load_first(v, from + i, n - i);
      load_first(g, dy + i, n - i);
      f.derivative(v);
      g *= v;
      store_first(dx + i, g, n - i);
    }
  }
};

/// Calls Kernel::run with the widest vectors that the machine has, or with vectors that the compiler takes apart.
template <class Kernel, class... Arguments>
void run_widest(Arguments... arguments) {
  if (has<float_x16>())
    run_for<float_x16, Kernel>(arguments...);
  else if (has_avx2())
    run_for<float_x8, Kernel>(arguments...);
  else
    Kernel::template run<float_x8>(arguments...);
}

/// y = f(x) for n elements. y may be x.
template <class F>
void map(context&, std::int64_t n, const F& f, const float* x, float* y) {
  run_widest<map_kernel<F>>(n, f, x, y);
}

/// dx = dy f'(x) for n elements, where y = f(x). dx may be dy.
template <class F>
void map_backward(context&, std::int64_t n, const F& f, const float* x, const float* y, const float* dy, float* dx) {
  run_widest<map_backward_kernel<F>>(n, f, F::derivative_reads_output ? y : x, dy, dx);
}

}  // namespace lockstep::cpu_backend
