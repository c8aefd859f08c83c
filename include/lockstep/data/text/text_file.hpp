// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include <lockstep/data/text/token_sequence.hpp>
#include <lockstep/io/file.hpp>
#include <lockstep/io/message.hpp>

namespace lockstep::data {

/// Number of tokens in the vocabulary of a text that is read as bytes.
inline constexpr std::int64_t byte_vocabulary = 256;

/// Reads a file whose bytes are the tokens. Throws io_error when it cannot be read or is empty.
[[nodiscard]] inline token_sequence<std::uint8_t> read_bytes(const std::string& path) {
  file_reader file(path);
  if (file.size() == 0) lockstep::detail::throw_io_error(path, {"expected a text, got an empty file"});
  std::vector<std::uint8_t> bytes(static_cast<std::size_t>(file.size()));
  file.read(std::as_writable_bytes(std::span(bytes)));
  return token_sequence(std::move(bytes));
}

/// Reads a text file as bytes, in two parts: `auto [train, validation] = text_file("input.txt");`. The last tenth
/// (rounded down) is for validation. Throws io_error when the file cannot be read or is empty.
[[nodiscard]] inline text_split<std::uint8_t> text_file(const std::string& path) {
  return split_text(read_bytes(path));
}

namespace detail {

/// Where a file first has a byte that no text has.
struct odd_byte {
  std::size_t at = 0;
  std::uint8_t value = 0;
};

/// Looks for a control byte other than those in use in texts, as file(1) does, so that every text in UTF-8 or another
/// encoding of bytes passes. Compressed files, IDX files, pictures and the like have one among their first bytes.
[[nodiscard]] inline std::optional<odd_byte> find_odd_byte(std::span<const std::uint8_t> bytes) {
  constexpr std::array<std::uint8_t, 8> usual{'\a', '\b', '\t', '\n', '\v', '\f', '\r', 0x1B};
  for (std::size_t i = 0; i < bytes.size(); ++i)
    if ((bytes[i] < 0x20 && std::find(usual.begin(), usual.end(), bytes[i]) == usual.end()) || bytes[i] == 0x7F)
      return odd_byte{i, bytes[i]};
  return std::nullopt;
}

/// Throws io_error unless `path` is a file that begins as texts do.
inline void require_text(const std::string& path) {
  constexpr std::int64_t looked_at = std::int64_t{1} << 16U;
  file_reader file(path);
  if (file.size() == 0) lockstep::detail::throw_io_error(path, {"expected a text, got an empty file"});
  std::vector<std::uint8_t> bytes(static_cast<std::size_t>((std::min)(file.size(), looked_at)));
  file.read(std::as_writable_bytes(std::span(bytes)));
  if (const auto odd = find_odd_byte(bytes))
    lockstep::detail::throw_io_error(path, {"expected a text file, or the folder of a data set, got a file whose byte ",
                                            odd->at, " is ", odd->value, ", which no text has"});
}

}  // namespace detail

}  // namespace lockstep::data
