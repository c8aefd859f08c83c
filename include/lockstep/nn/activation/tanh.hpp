// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <string_view>

#include <lockstep/backend/element_functions.hpp>
#include <lockstep/core/config.hpp>
#include <lockstep/nn/activation/function_layer.hpp>

namespace lockstep {

namespace detail {

struct tanh_function {
  static constexpr bool derivative_reads_output = true;

  template <class T>
  static constexpr tanh_function of() {
    return {};
  }
  template <class V>
  LOCKSTEP_ALWAYS_INLINE constexpr void operator()(V& v) const {
    take_tanh(v);
  }
  template <class V>
  LOCKSTEP_ALWAYS_INLINE constexpr void derivative(V& v) const {
    v = (1.F - v) * (1.F + v);
  }
};

}  // namespace detail

/// The hyperbolic tangent of each element, as torch.nn.Tanh. After `using namespace lockstep` an unqualified tanh(x) is
/// ambiguous where <cmath> has put the C library's function into the global namespace: write std::tanh.
struct tanh : detail::function_layer<detail::tanh_function> {
  static constexpr std::string_view kind = "tanh";
};

}  // namespace lockstep
