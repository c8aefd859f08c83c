// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <string_view>

#include <lockstep/backend/element_functions.hpp>
#include <lockstep/core/config.hpp>
#include <lockstep/nn/activation/function_layer.hpp>
#include <lockstep/nn/real.hpp>

namespace lockstep {

namespace detail {

/// x where it is above zero, else slope x. An output has the sign of its input unless the slope is negative.
template <class T, bool FromOutput>
struct leaky_relu_function {
  T slope;

  static constexpr bool derivative_reads_output = FromOutput;

  template <class V>
  LOCKSTEP_ALWAYS_INLINE constexpr void operator()(V& v) const {
    const V x = v;
    v *= slope;
    take_where_positive(v, x, x);
  }
  template <class V>
  LOCKSTEP_ALWAYS_INLINE constexpr void derivative(V& v) const {
    const V x = v;
    V one;
    fill(one, 1.F);
    fill(v, slope);
    take_where_positive(v, x, one);
  }
};

template <real Slope>
struct leaky_relu_source {
  template <class T>
  static constexpr auto of() {
    return leaky_relu_function<T, (Slope.value() >= 0)>{.slope = static_cast<T>(Slope.value())};
  }
};

}  // namespace detail

/// x where it is above zero, else Slope times x, as torch.nn.LeakyReLU(Slope).
template <real Slope = 0.01>
struct leaky_relu : detail::function_layer<detail::leaky_relu_source<Slope>> {
  static constexpr std::string_view kind = "leaky_relu";

  template <dims Arriving>
  static consteval void check() {
    static_assert(is_finite(Slope), "lockstep: leaky_relu: the slope is a finite number");
  }
};

}  // namespace lockstep
