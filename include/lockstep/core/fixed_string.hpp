// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <lockstep/core/config.hpp>

#include <cstddef>
#include <string_view>

namespace lockstep {

/// A string that can be a template argument: `named<"conv1", ...>`.
template <std::size_t N>
struct fixed_string {
  char text[N]{};

  // NOLINTNEXTLINE(google-explicit-constructor): a literal is meant to convert.
  consteval fixed_string(const char (&literal)[N]) {
    for (std::size_t i = 0; i < N; ++i) text[i] = literal[i];
  }

  [[nodiscard]] constexpr std::string_view view() const { return {text, N - 1}; }
};

namespace detail {

/// A text that the compiler knows as a template argument.
template <std::size_t Size>
consteval fixed_string<Size + 1> text_of(std::string_view name) {
  char text[Size + 1]{};
  for (std::size_t i = 0; i < Size; ++i) text[i] = name[i];
  return fixed_string<Size + 1>(text);
}

}  // namespace detail

}  // namespace lockstep
