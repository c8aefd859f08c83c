// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <cstdint>

#include <lockstep/core/probability.hpp>
#include <lockstep/core/shape.hpp>
#include <lockstep/nn/dropout.hpp>
#include <lockstep/nn/window.hpp>

/// \file
/// Options of the layers of attention.

namespace lockstep {

/// Row t sees rows 0 to t alone.
struct causal {};

namespace detail {

struct attention_options {
  bool is_causal = false;
  bool bias = true;
  bool known = true;
  bool names_bias = false;
  probability dropped = 0;

  constexpr void take(causal) { is_causal = true; }
  constexpr void take(no_bias) {
    bias = false;
    names_bias = true;
  }
  template <probability P>
  constexpr void take(dropout<P>) {
    dropped = P;
  }
  template <class Other>
  constexpr void take(Other) {
    known = false;
  }

  template <class... Options>
  static consteval attention_options of() {
    attention_options all;
    (all.take(Options{}), ...);
    return all;
  }
};

/// Whether rows of `parts` arrays behind each other can be cut into heads.
[[nodiscard]] constexpr bool cuts_into_heads(const dims& rows, std::int64_t parts, std::int64_t heads) {
  return heads > 0 && rows.rank == 2 && rows[1] % (parts * heads) == 0;
}

}  // namespace detail

}  // namespace lockstep
