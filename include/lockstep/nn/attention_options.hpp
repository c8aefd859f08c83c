// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <cstdint>

#include <lockstep/core/fixed_string.hpp>
#include <lockstep/core/probability.hpp>
#include <lockstep/core/shape.hpp>
#include <lockstep/nn/dropout.hpp>
#include <lockstep/nn/from.hpp>
#include <lockstep/nn/window.hpp>

/// \file
/// Options of the layers of attention.

namespace lockstep {

/// Row t sees rows 0 to t alone.
struct causal {};

/// Option of attention: the input of the model, a `tokens<1>`, that says how many rows of each sample are there. No row
/// sees a key beyond them, as with PyTorch's key_padding_mask; what rows beyond them compute means nothing.
template <fixed_string Input>
struct key_lengths {};

namespace detail {

/// What reads the input that key_lengths names among options; void without one.
template <class... Options>
struct lengths_among {
  using type = void;
};
template <fixed_string Input, class... Options>
struct lengths_among<key_lengths<Input>, Options...> {
  using type = from<Input>;
};
template <class Option, class... Options>
struct lengths_among<Option, Options...> : lengths_among<Options...> {};

struct attention_options {
  bool is_causal = false;
  bool bias = true;
  bool known = true;
  bool names_bias = false;
  bool has_lengths = false;
  probability dropped = 0;

  constexpr void take(causal) { is_causal = true; }
  template <fixed_string Input>
  constexpr void take(key_lengths<Input>) {
    has_lengths = true;
  }
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

/// Whether rows of `parts` arrays one after the other can be cut into heads.
[[nodiscard]] constexpr bool cuts_into_heads(const dims& rows, std::int64_t parts, std::int64_t heads) {
  return heads > 0 && rows.rank == 2 && rows[1] % (parts * heads) == 0;
}

}  // namespace detail

}  // namespace lockstep
