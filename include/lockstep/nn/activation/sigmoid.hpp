// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <string_view>

#include <lockstep/backend/element_functions.hpp>
#include <lockstep/core/config.hpp>
#include <lockstep/nn/activation/function_layer.hpp>

namespace lockstep {

namespace detail {

struct sigmoid_function {
  static constexpr bool derivative_reads_output = true;

  template <class T>
  static constexpr sigmoid_function of() {
    return {};
  }
  template <class V>
  LOCKSTEP_ALWAYS_INLINE constexpr void operator()(V& v) const {
    take_sigmoid(v);
  }
  template <class V>
  LOCKSTEP_ALWAYS_INLINE constexpr void derivative(V& v) const {
    v = v * (1.F - v);
  }
};

}  // namespace detail

/// 1 / (1 + e^-x) of each element, as torch.nn.Sigmoid.
struct sigmoid : detail::function_layer<detail::sigmoid_function> {
  static constexpr std::string_view kind = "sigmoid";
};

}  // namespace lockstep
