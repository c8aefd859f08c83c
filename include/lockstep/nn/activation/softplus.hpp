// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <string_view>

#include <lockstep/backend/element_functions.hpp>
#include <lockstep/core/config.hpp>
#include <lockstep/nn/activation/function_layer.hpp>
#include <lockstep/nn/real.hpp>

namespace lockstep {

namespace detail {

/// log(1 + e^(beta x)) / beta, or x where beta x is above the threshold.
template <class T, bool FromOutput>
struct softplus_function {
  T beta, inverse, threshold;

  static constexpr bool derivative_reads_output = FromOutput;

  template <class V>
  LOCKSTEP_ALWAYS_INLINE constexpr void operator()(V& v) const {
    const V x = v;
    const V scaled = beta * x;
    V bent = scaled;
    take_minus_magnitude(bent);
    take_exponential(bent);
    take_log_one_plus(bent);
    V large;
    fill(large, 0.F);
    take_where_positive(large, scaled, scaled);
    v = (large + bent) * inverse;
    take_where_positive(v, scaled - threshold, x);
  }
  template <class V>
  LOCKSTEP_ALWAYS_INLINE constexpr void derivative(V& v) const {
    const V scaled = beta * v;
    if constexpr (FromOutput) {
      v = -scaled;
      take_exponential_less_one(v);
      v = -v;
    } else {
      v = scaled;
      take_sigmoid(v);
    }
    V one;
    fill(one, 1.F);
    take_where_positive(v, scaled - threshold, one);
  }
};

template <real Beta, real Threshold>
struct softplus_source {
  template <class T>
  static constexpr auto of() {
    // Where beta x meets the threshold, outputs leap back by e^-threshold / beta. For a float that is nothing above 16,
    // so that an output tells on which side its input was.
    constexpr bool from_output = Threshold.value() >= 16;
    constexpr double beta = Beta.value() == 0 ? 1 : Beta.value();  // zero is refused by the layer's sentence alone
    return softplus_function<T, from_output>{.beta = static_cast<T>(beta),
                                             .inverse = static_cast<T>(1 / beta),
                                             .threshold = static_cast<T>(Threshold.value())};
  }
};

}  // namespace detail

/// log(1 + e^(Beta x)) / Beta, or x where Beta x is above Threshold, as torch.nn.Softplus(Beta, Threshold).
template <real Beta = 1, real Threshold = 20>
struct softplus : detail::function_layer<detail::softplus_source<Beta, Threshold>> {
  static constexpr std::string_view kind = "softplus";

  template <dims Arriving>
  static consteval void check() {
    static_assert(is_finite(Beta) && Beta.value() != 0, "lockstep: softplus: beta is a finite number other than zero");
    static_assert(is_finite(Threshold), "lockstep: softplus: the threshold is a finite number");
  }
};

}  // namespace lockstep
