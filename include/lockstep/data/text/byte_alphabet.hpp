// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include <lockstep/data/text/utf8.hpp>

namespace lockstep::data::detail {

/// The characters that stand for bytes in GPT-2's files: those that one can see stand for themselves, the others for
/// 256, 257, ... in their order. `byte_of[code]` is -1 for a code that stands for none.
/// Source: bytes_to_unicode in encoder.py of openai/gpt-2.
inline constexpr std::array<std::int16_t, 324> byte_of = [] {
  std::array<std::int16_t, 324> bytes{};
  bytes.fill(-1);
  std::size_t next = 256;
  for (std::size_t byte = 0; byte < 256; ++byte) {
    const bool visible = (byte > 0x20 && byte < 0x7F) || (byte > 0xA0 && byte != 0xAD);
    bytes[visible ? byte : next++] = static_cast<std::int16_t>(byte);
  }
  return bytes;
}();

/// Appends the bytes that `token` stands for. Returns false when a character stands for none.
[[nodiscard]] inline bool append_bytes_of(std::string_view token, std::string& to) {
  for (std::size_t at = 0; at < token.size();) {
    const utf8_character next = utf8_at(token, at);
    if (!next.valid || next.code >= byte_of.size() || byte_of[next.code] < 0) return false;
    to += static_cast<char>(byte_of[next.code]);
    at += next.bytes;
  }
  return true;
}

}  // namespace lockstep::data::detail
