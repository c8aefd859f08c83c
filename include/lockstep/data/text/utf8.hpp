// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <lockstep/core/config.hpp>

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

namespace lockstep::data {

namespace detail {

/// What stands at a place of a text.
struct utf8_character {
  char32_t code = 0;
  std::uint8_t bytes = 1;  ///< of invalid bytes: those that one U+FFFD replaces
  bool valid = false;
};

/// Decodes the character at `at`, which must lie in `text`. Invalid are bytes out of place, characters in more bytes
/// than needed, surrogates and what lies above U+10FFFF. Of invalid bytes it takes the longest beginning of a
/// character. Source: The Unicode Standard, table 3-7 and "U+FFFD Substitution of Maximal Subparts" (section 3.9).
[[nodiscard]] constexpr utf8_character utf8_at(std::string_view text, std::size_t at) {
  const auto byte = [&](std::size_t i) -> std::uint8_t {
    return at + i < text.size() ? static_cast<std::uint8_t>(text[at + i]) : std::uint8_t{0};
  };
  const std::uint8_t lead = byte(0);
  if (lead < 0x80) return {lead, 1, true};
  if (lead < 0xC2 || lead > 0xF4) return {};
  const std::uint8_t length = lead < 0xE0 ? 2 : lead < 0xF0 ? 3 : 4;
  std::uint8_t least = lead == 0xE0 ? 0xA0 : lead == 0xF0 ? 0x90 : 0x80;  // of the second byte
  std::uint8_t most = lead == 0xED ? 0x9F : lead == 0xF4 ? 0x8F : 0xBF;
  char32_t code = lead & (0x7FU >> length);
  for (std::uint8_t i = 1; i < length; ++i) {
    if (byte(i) < least || byte(i) > most) return {0, i, false};
    code = code << 6U | (byte(i) & 0x3FU);
    least = 0x80;
    most = 0xBF;
  }
  return {code, length, true};
}

}  // namespace detail

/// Returns a text in UTF-8: invalid bytes are replaced by U+FFFD, as Python's `bytes.decode("utf-8", "replace")` does.
[[nodiscard]] inline std::string replace_invalid_utf8(std::string_view text) {
  std::string result;
  result.reserve(text.size());
  for (std::size_t at = 0; at < text.size();) {
    const detail::utf8_character next = detail::utf8_at(text, at);
    result.append(next.valid ? text.substr(at, next.bytes) : std::string_view("\xEF\xBF\xBD"));
    at += next.bytes;
  }
  return result;
}

}  // namespace lockstep::data
