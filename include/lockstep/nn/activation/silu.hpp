// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <string_view>

#include <lockstep/backend/element_functions.hpp>
#include <lockstep/core/config.hpp>
#include <lockstep/nn/activation/function_layer.hpp>

namespace lockstep {

namespace detail {

struct silu_function {
  static constexpr bool derivative_reads_output = false;

  template <class T>
  static constexpr silu_function of() {
    return {};
  }
  template <class V>
  LOCKSTEP_ALWAYS_INLINE constexpr void operator()(V& v) const {
    V share = v;
    take_sigmoid(share);
    v *= share;
  }
  template <class V>
  LOCKSTEP_ALWAYS_INLINE constexpr void derivative(V& v) const {
    V share = v;
    V rest;
    take_sigmoids(share, rest);
    v = share + share * rest * v;
  }
};

}  // namespace detail

/// x / (1 + e^-x) of each element, as torch.nn.SiLU; also called swish.
struct silu : detail::function_layer<detail::silu_function> {
  static constexpr std::string_view kind = "silu";
};

}  // namespace lockstep
