// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <tuple>

#include <lockstep/nn/activation/elu.hpp>
#include <lockstep/nn/activation/gelu.hpp>
#include <lockstep/nn/activation/leaky_relu.hpp>
#include <lockstep/nn/activation/sigmoid.hpp>
#include <lockstep/nn/activation/silu.hpp>
#include <lockstep/nn/activation/softplus.hpp>
#include <lockstep/nn/activation/tanh.hpp>

#include "backend/support.hpp"

/// \file
/// The functions of activations in double precision, by formulas of their own: `value` of an input, `derivative` of
/// what the layer's backward reads. `source` is the library's. `argument(x)` is the number that the function takes an
/// exponential of if that has been rounded before: its rounding errors count so many times.

namespace lockstep_test {

struct sigmoid_case {
  using source = ls::detail::sigmoid_function;
  static constexpr const char* name = "sigmoid";
  static double value(double x) { return 1 / (1 + std::exp(-x)); }
  static double derivative(double y) { return y * (1 - y); }
  static double argument(double) { return 0; }
};
struct tanh_case {
  using source = ls::detail::tanh_function;
  static constexpr const char* name = "tanh";
  static double value(double x) { return std::tanh(x); }
  static double derivative(double y) { return 1 - y * y; }
  static double argument(double) { return 0; }
};
struct silu_case {
  using source = ls::detail::silu_function;
  static constexpr const char* name = "silu";
  static double value(double x) { return x / (1 + std::exp(-x)); }
  static double derivative(double x) {
    const double s = 1 / (1 + std::exp(-x));
    return s * (1 + x / (1 + std::exp(x)));
  }
  static double argument(double) { return 0; }
};
struct gelu_case {
  using source = ls::detail::gelu_source<>;
  static constexpr const char* name = "gelu";
  static double value(double x) { return x * 0.5 * std::erfc(-x / std::sqrt(2.0)); }
  static double derivative(double x) {
    return 0.5 * std::erfc(-x / std::sqrt(2.0)) + x * std::exp(-x * x / 2) / std::sqrt(2 * std::acos(-1.0));
  }
  /// Half of the square, where a kernel does not take that exactly; an error of x counts twice in it.
  static double argument(double x) { return x * x; }
};
struct gelu_tanh_case {
  using source = ls::detail::gelu_source<ls::approximate_tanh>;
  static constexpr const char* name = "gelu<approximate_tanh>";
  static double inner(double x) { return std::sqrt(2 / std::acos(-1.0)) * (x + 0.044715 * x * x * x); }
  static double value(double x) { return x / (1 + std::exp(-2 * inner(x))); }
  static double derivative(double x) {
    if (std::abs(x) > 100) return x > 0 ? 1 : 0;
    const double s = 1 / (1 + std::exp(-2 * inner(x)));
    const double rest = 1 / (1 + std::exp(2 * inner(x)));
    return s + x * s * rest * 2 * std::sqrt(2 / std::acos(-1.0)) * (1 + 3 * 0.044715 * x * x);
  }
  static double argument(double x) { return 2 * inner(x); }
};
template <ls::real Slope>
struct leaky_relu_case {
  using source = ls::detail::leaky_relu_source<Slope>;
  static constexpr const char* name = "leaky_relu";
  static double value(double x) { return x > 0 ? x : Slope.value() * x; }
  static double derivative(double v) { return v > 0 ? 1 : Slope.value(); }
  static double argument(double) { return 0; }
};
template <ls::real Alpha>
struct elu_case {
  using source = ls::detail::elu_source<Alpha>;
  static constexpr const char* name = "elu";
  static double value(double x) { return x > 0 ? x : Alpha.value() * std::expm1(x); }
  static double derivative(double v) {
    if (v > 0) return 1;
    return Alpha.value() < 0 ? Alpha.value() * std::exp(v) : v + Alpha.value();
  }
  static double argument(double) { return 0; }
};
template <ls::real Beta, ls::real Threshold>
struct softplus_case {
  using source = ls::detail::softplus_source<Beta, Threshold>;
  static constexpr const char* name = "softplus";
  static double value(double x) {
    const double scaled = Beta.value() * x;
    if (scaled > Threshold.value()) return x;
    return (std::max(scaled, 0.0) + std::log1p(std::exp(-std::abs(scaled)))) / Beta.value();
  }
  static double derivative(double v) {
    const double scaled = Beta.value() * v;
    if (scaled > Threshold.value()) return 1;
    return Threshold.value() >= 16 ? -std::expm1(-scaled) : 1 / (1 + std::exp(-scaled));
  }
  static double argument(double x) { return Beta.value() == 1 ? 0 : Beta.value() * x; }
};

using function_cases = std::tuple<sigmoid_case, tanh_case, silu_case, gelu_case, gelu_tanh_case, leaky_relu_case<0.01>,
                                  leaky_relu_case<0>, leaky_relu_case<-0.25>, elu_case<1>, elu_case<0.3>,
                                  elu_case<-0.5>, softplus_case<1, 20>, softplus_case<2.5, 3>, softplus_case<-0.5, 16>>;

/// Zeros of both signs, numbers of every size down to the smallest, infinities, a NaN, and many that activations see.
inline doubles numbers_of_every_size() {
  doubles all{0.0, -0.0, infinity, -infinity, poison, 3.4028234663852886e38, -3.4028234663852886e38};
  for (int e = -149; e <= 127; ++e)
    for (const double part : {1.0, 1.375, 1.8125})
      for (const double sign : {1.0, -1.0})
        all.push_back(static_cast<double>(static_cast<float>(std::ldexp(sign * part, e))));
  for (const double bound : {0.1, 4.0, 20.0, 110.0})
    for (const double v : uniform(500, static_cast<std::uint64_t>(bound), -bound, bound)) all.push_back(v);
  return all;
}

}  // namespace lockstep_test
