// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>

#include <lockstep/core/error.hpp>

/// \file
/// The path of a layer in its network, such as `features.0`: as text, and as a hash of that text.

namespace lockstep::detail {

/// A dotted path of bounded length, so that it can be a constant and a template argument.
struct path {
  static constexpr std::size_t capacity = 96;

  char text[capacity]{};
  std::size_t length = 0;

  constexpr void append(std::string_view part) {
    for (const char c : part) {
      if (length == capacity) throw shape_error("named", "a parameter path of at most 96 characters", "a longer one");
      text[length++] = c;
    }
  }
  [[nodiscard]] constexpr bool empty() const { return length == 0; }
  [[nodiscard]] constexpr std::string_view view() const { return {text, length}; }
};

/// The FNV-1a hash of a path: far cheaper for the compiler than the text.
struct path_hash {
  std::uint64_t value = 0xCBF29CE484222325U;
  bool nothing = true;

  constexpr void append(std::string_view part) {
    for (const char c : part) value = (value ^ static_cast<unsigned char>(c)) * 0x100000001B3U;
    nothing = nothing && part.empty();
  }
  [[nodiscard]] constexpr bool empty() const { return nothing; }

  friend constexpr bool operator==(const path_hash&, const path_hash&) = default;
};

/// `parent` with one more name. An empty name adds nothing.
template <class Path>
[[nodiscard]] constexpr Path child(Path parent, std::string_view name) {
  if (name.empty()) return parent;
  if (!parent.empty()) parent.append(".");
  parent.append(name);
  return parent;
}

/// `parent` with a position as one more name.
template <class Path>
[[nodiscard]] constexpr Path child(const Path& parent, std::size_t position) {
  char digits[20]{};
  std::size_t first = sizeof(digits);
  do {
    digits[--first] = static_cast<char>('0' + position % 10);
    position /= 10;
  } while (position > 0);
  return child(parent, std::string_view(digits + first, sizeof(digits) - first));
}

}  // namespace lockstep::detail
