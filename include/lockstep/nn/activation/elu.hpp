// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <string_view>

#include <lockstep/backend/element_functions.hpp>
#include <lockstep/core/config.hpp>
#include <lockstep/nn/activation/function_layer.hpp>
#include <lockstep/nn/real.hpp>

namespace lockstep {

namespace detail {

/// x where it is above zero, else alpha (e^x - 1). An output has the sign of its input unless alpha is negative.
template <class T, bool FromOutput>
struct elu_function {
  T alpha;

  static constexpr bool derivative_reads_output = FromOutput;

  template <class V>
  LOCKSTEP_ALWAYS_INLINE constexpr void operator()(V& v) const {
    const V x = v;
    cap_at_zero(v);
    take_exponential_less_one(v);
    v *= alpha;
    take_where_positive(v, x, x);
  }
  template <class V>
  LOCKSTEP_ALWAYS_INLINE constexpr void derivative(V& v) const {
    const V from = v;
    if constexpr (FromOutput) {
      v += alpha;
    } else {
      cap_at_zero(v);
      take_exponential(v);
      v *= alpha;
    }
    V one;
    fill(one, 1.F);
    take_where_positive(v, from, one);
  }

 private:
  template <class V>
  static LOCKSTEP_ALWAYS_INLINE constexpr void cap_at_zero(V& v) {
    const V x = v;
    V zero;
    fill(zero, 0.F);
    take_where_positive(v, x, zero);
  }
};

template <real Alpha>
struct elu_source {
  template <class T>
  static constexpr auto of() {
    return elu_function<T, (Alpha.value() >= 0)>{.alpha = static_cast<T>(Alpha.value())};
  }
};

}  // namespace detail

/// x where it is above zero, else Alpha (e^x - 1), as torch.nn.ELU(Alpha).
template <real Alpha = 1>
struct elu : detail::function_layer<detail::elu_source<Alpha>> {
  static constexpr std::string_view kind = "elu";

  template <dims Arriving>
  static consteval void check() {
    static_assert(is_finite(Alpha), "lockstep: elu: alpha is a finite number");
  }
};

}  // namespace lockstep
