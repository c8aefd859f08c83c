// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <lockstep/core/config.hpp>

#include <cstdint>

#include <lockstep/backend/element_functions.hpp>

/// \file
/// Functions of one element, and the primitives that apply them by their definition, for backends whose memory the host
/// reads.
///
/// A function is a small class with constants as its members and, both of them templates that are
/// LOCKSTEP_ALWAYS_INLINE and constexpr instead of LOCKSTEP_HOST_DEVICE, in which nvcc refuses vectors:
/// - `f(v)`: v = f(v);
/// - `f.derivative(v)`: v = f'(x), where v is x, or f(x) if `derivative_reads_output`, a static constexpr bool.
/// An argument is a number or a vector of floats of whatever length the processor has. So one expression serves every
/// backend: element_math.hpp and element_functions.hpp have what it may use beside + - * /.

namespace lockstep {

/// f(x) = x.
struct identity_function {
  static constexpr bool derivative_reads_output = true;

  template <class V>
  LOCKSTEP_ALWAYS_INLINE constexpr void operator()(V&) const {}
  template <class V>
  LOCKSTEP_ALWAYS_INLINE constexpr void derivative(V& v) const {
    detail::fill(v, 1.F);
  }
};

namespace host {

/// y = f(x) for n elements, computed in T. y may be x.
template <class T, class F, class A>
void map(std::int64_t n, const F& f, const A* x, A* y) {
  for (std::int64_t i = 0; i < n; ++i) {
    T v = static_cast<T>(x[i]);
    f(v);
    y[i] = static_cast<A>(v);
  }
}

/// dx = dy f'(x) for n elements, computed in T, where y = f(x). Reads y alone if the function says so, else x alone. dx
/// may be dy.
template <class T, class F, class A>
void map_backward(std::int64_t n, const F& f, const A* x, const A* y, const A* dy, A* dx) {
  const A* const from = F::derivative_reads_output ? y : x;
  for (std::int64_t i = 0; i < n; ++i) {
    T v = static_cast<T>(from[i]);
    f.derivative(v);
    dx[i] = static_cast<A>(static_cast<T>(dy[i]) * v);
  }
}

}  // namespace host

}  // namespace lockstep
