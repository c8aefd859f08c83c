// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <string_view>
#include <type_traits>

#include <lockstep/backend/element_functions.hpp>
#include <lockstep/core/config.hpp>
#include <lockstep/nn/activation/function_layer.hpp>

namespace lockstep {

namespace detail {

struct gelu_function {
  static constexpr bool derivative_reads_output = false;

  template <class T>
  static constexpr gelu_function of() {
    return {};
  }
  template <class V>
  LOCKSTEP_ALWAYS_INLINE constexpr void operator()(V& v) const {
    V below, density;
    take_normal_distribution(v, below, density);
    v *= below;
  }
  template <class V>
  LOCKSTEP_ALWAYS_INLINE constexpr void derivative(V& v) const {
    V below, density;
    take_normal_distribution(v, below, density);
    v = below + v * density;
  }
};

/// With u = sqrt(2 / pi) (x + 0.044715 x^3): x (1 + tanh(u)) / 2, which is x sigmoid(2u).
template <class T>
struct gelu_tanh_function {
  T factor;  ///< 2 sqrt(2 / pi)
  T cubic;   ///< 0.044715 times that
  T most;    ///< where all has come to its limit, and x^3 is still far from an overflow

  static constexpr bool derivative_reads_output = false;

  template <class V>
  LOCKSTEP_ALWAYS_INLINE constexpr void operator()(V& v) const {
    V x = v;
    clip(x, most);
    V share = x * (factor + cubic * (x * x));
    take_sigmoid(share);
    v *= share;
  }
  template <class V>
  LOCKSTEP_ALWAYS_INLINE constexpr void derivative(V& v) const {
    clip(v, most);
    const V square = v * v;
    V share = v * (factor + cubic * square);
    V rest;
    take_sigmoids(share, rest);
    v = share + share * rest * (v * (factor + 3.F * cubic * square));
  }
};

template <class... Options>
struct gelu_source {
  template <class T>
  static constexpr auto of() {
    constexpr double factor = 1.5957691216057308;
    if constexpr (sizeof...(Options) > 0)
      return gelu_tanh_function<T>{
          .factor = static_cast<T>(factor), .cubic = static_cast<T>(0.044715 * factor), .most = T{1000}};
    else
      return gelu_function{};
  }
};

}  // namespace detail

/// Option of gelu: as approximate="tanh" in PyTorch.
struct approximate_tanh {};

/// x times the share of the standard normal distribution below x, as torch.nn.GELU. Option: approximate_tanh, for
/// x (1 + tanh(sqrt(2 / pi) (x + 0.044715 x^3))) / 2.
template <class... Options>
struct gelu : detail::function_layer<detail::gelu_source<Options...>> {
  static constexpr std::string_view kind = "gelu";

  template <dims Arriving>
  static consteval void check() {
    static_assert(sizeof...(Options) <= 1 && (std::is_same_v<Options, approximate_tanh> && ...),
                  "lockstep: gelu: takes no option but approximate_tanh");
  }
};

}  // namespace lockstep
