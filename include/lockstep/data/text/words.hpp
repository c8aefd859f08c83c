// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <string_view>

#include <lockstep/data/text/unicode_categories.hpp>
#include <lockstep/data/text/utf8.hpp>

namespace lockstep::data::detail {

inline constexpr std::array<character, 128> ascii_kinds = [] {
  std::array<character, 128> kinds{};
  for (std::size_t i = 0; i < kinds.size(); ++i) kinds[i] = kind_of_character(static_cast<char32_t>(i));
  return kinds;
}();

struct character_at {
  character kind = character::other;
  std::size_t bytes = 1;
};

/// What stands at a place of a text. An invalid byte is neither letter nor number nor space.
[[nodiscard]] inline character_at look_at(std::string_view text, std::size_t at) {
  const auto first = static_cast<std::uint8_t>(text[at]);
  if (first < 0x80) return {ascii_kinds[first], 1};
  const utf8_character found = utf8_at(text, at);
  return {found.valid ? kind_of_character(found.code) : character::other, found.bytes};
}

/// The end of the run of characters of one kind that begins at `at`; `at` itself where there is none.
[[nodiscard]] inline std::size_t end_of_run(std::string_view text, std::size_t at, character kind) {
  while (at < text.size()) {
    const character_at next = look_at(text, at);
    if (next.kind != kind) break;
    at += next.bytes;
  }
  return at;
}

/// The length of a contraction's ending at `at`, as in I'm, or 0.
[[nodiscard]] constexpr std::size_t contraction_at(std::string_view text, std::size_t at) {
  const std::string_view rest = text.substr(at);
  for (const std::string_view ending : {"'s", "'t", "'re", "'ve", "'m", "'ll", "'d"})
    if (rest.starts_with(ending)) return ending.size();
  return 0;
}

/// The end of the word that begins at `at`, which must lie in the text. The words of a text cover it; what a tokenizer
/// merges never crosses their borders. They are the matches of GPT-2's pattern
/// `'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+`.
/// Source: encoder.py of openai/gpt-2.
[[nodiscard]] inline std::size_t end_of_word(std::string_view text, std::size_t at) {
  const char first = text[at];
  if (first == '\'')
    if (const std::size_t length = contraction_at(text, at); length != 0) return at + length;
  // One space before letters, numbers or others is theirs.
  const std::size_t begin = first == ' ' && at + 1 < text.size() ? at + 1 : at;
  const character kind = look_at(text, begin).kind;
  if (kind != character::space) return end_of_run(text, begin, kind);
  // Spaces before a word: the last of them stands alone, or goes with the word.
  std::size_t last = at;
  std::size_t end = at;
  while (end < text.size()) {
    const character_at next = look_at(text, end);
    if (next.kind != character::space) break;
    last = end;
    end += next.bytes;
  }
  return end == text.size() || last == at ? end : last;
}

}  // namespace lockstep::data::detail
