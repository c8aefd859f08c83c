// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <lockstep/core/config.hpp>

#include <charconv>
#include <initializer_list>
#include <span>
#include <string>
#include <string_view>

/// \file
/// Transforms in words, for checkpoints: `flip(0.5)`. A transform of the user's may have a `describe()` too.

namespace lockstep::data::detail {

/// The name of a transform, and its options in parentheses.
[[nodiscard]] inline std::string describe_call(std::string_view name, std::span<const double> options) {
  std::string text(name);
  text += '(';
  for (const double& option : options) {
    if (&option != options.data()) text += ',';
    char digits[40];
    text.append(digits, std::to_chars(digits, digits + sizeof digits, option).ptr);
  }
  return text += ')';
}
[[nodiscard]] inline std::string describe_call(std::string_view name, std::initializer_list<double> options) {
  return describe_call(name, std::span<const double>(options.begin(), options.size()));
}

/// What a transform's describe() returns; "a function" for a transform without one.
template <class Transform>
[[nodiscard]] std::string described(const Transform& transform) {
  if constexpr (requires { std::string(transform.describe()); })
    return std::string(transform.describe());
  else
    return "a function";
}

}  // namespace lockstep::data::detail
