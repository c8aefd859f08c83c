// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <lockstep/core/config.hpp>

#include <cstdint>

#include <lockstep/backend/cuda/context.hpp>
#include <lockstep/backend/cuda/transform.hpp>

namespace lockstep::cuda_backend {

template <class F>
struct mapped {
  F f;

  template <class A>
  LOCKSTEP_HOST_DEVICE constexpr A operator()(A x) const {
    auto v = static_cast<float>(x);
    f(v);
    return static_cast<A>(v);
  }
};

/// Of the output's gradient and what the function's derivative reads.
template <class F>
struct mapped_gradient {
  F f;

  template <class A>
  LOCKSTEP_HOST_DEVICE constexpr A operator()(A from, A dy) const {
    auto v = static_cast<float>(from);
    f.derivative(v);
    return static_cast<A>(static_cast<float>(dy) * v);
  }
};

/// y = f(x) for n elements, computed in float. y may be x.
template <class F, class A>
void map(context& c, std::int64_t n, const F& f, const A* x, A* y) {
  transform(c, "a function of elements", n, mapped<F>{f}, y, x);
}

/// dx = dy f'(x) for n elements, computed in float, where y = f(x). dx may be dy.
template <class F, class A>
void map_backward(context& c, std::int64_t n, const F& f, const A* x, const A* y, const A* dy, A* dx) {
  transform(c, "a function's gradient", n, mapped_gradient<F>{f}, dx, F::derivative_reads_output ? y : x, dy);
}

}  // namespace lockstep::cuda_backend
