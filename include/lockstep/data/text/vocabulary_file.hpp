// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <lockstep/core/config.hpp>

#include <cstddef>
#include <cstdint>
#include <functional>
#include <limits>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

#include <rapidjson/error/en.h>
#include <rapidjson/memorystream.h>
#include <rapidjson/reader.h>

#include <lockstep/data/text/byte_alphabet.hpp>
#include <lockstep/data/text/merges.hpp>
#include <lockstep/data/text/utf8.hpp>
#include <lockstep/io/message.hpp>

/// \file
/// GPT-2's two files: vocab.json, an object of tokens and their numbers, and merges.txt, a line for each merge.

namespace lockstep::data::detail {

using lockstep::detail::throw_io_error;

/// Lets a map of strings be asked for a string_view.
struct string_hash {
  using is_transparent = void;
  [[nodiscard]] std::size_t operator()(std::string_view text) const noexcept {
    return std::hash<std::string_view>{}(text);
  }
};

/// Numbers by the tokens' bytes.
using token_numbers = std::unordered_map<std::string, std::int32_t, string_hash, std::equal_to<>>;

/// A piece of a file for a message: valid UTF-8, and not too long.
[[nodiscard]] inline std::string in_quotes(std::string_view text) {
  constexpr std::size_t most = 60;
  std::string result("'");
  result.append(replace_invalid_utf8(text.substr(0, most)));
  return result.append(text.size() > most ? "...'" : "'");
}

/// Receives the parts of vocab.json from the JSON reader. It stops at the first part out of place, so no file can make
/// the reader nest deeper than one level.
class vocabulary_handler {
 public:
  vocabulary_handler(const std::string& file, token_numbers& numbers) : file_(file), numbers_(numbers) {}

  // NOLINTBEGIN(readability-identifier-naming): the JSON reader calls these names.
  bool Null() { return refuse("null"); }
  bool Bool(bool value) { return refuse(value ? "true" : "false"); }
  bool Int(int) { return refuse("a negative number"); }
  bool Int64(std::int64_t) { return refuse("a negative number"); }
  bool Uint(unsigned value) { return number(value); }
  bool Uint64(std::uint64_t value) { return number(value); }
  bool Double(double) { return refuse("a number that is no integer"); }
  bool RawNumber(const char*, rapidjson::SizeType, bool) { return refuse("a number"); }
  bool String(const char* text, rapidjson::SizeType length, bool) {
    return refuse("the text " + in_quotes(std::string_view(text, length)));
  }
  bool StartArray() { return refuse("a list"); }
  bool EndArray(rapidjson::SizeType) { return true; }
  bool StartObject() { return std::exchange(begun_, true) ? refuse("an object") : true; }
  bool EndObject(rapidjson::SizeType) { return true; }

  bool Key(const char* text, rapidjson::SizeType length, bool) {
    const std::string_view key(text, length);
    token_.clear();
    if (!append_bytes_of(key, token_))
      throw_io_error(file_, {"expected tokens in GPT-2's alphabet of bytes, in which a space is U+0120, got ",
                             in_quotes(key), "; a vocabulary of another kind of tokenizer?"});
    return true;
  }
  // NOLINTEND(readability-identifier-naming)

 private:
  [[noreturn]] bool refuse(std::string_view given) const {
    throw_io_error(file_, {"expected an object of tokens and their numbers, as in {\"the\": 1169}, got ", given,
                           token_.empty() ? "" : " for ", token_.empty() ? "" : in_quotes(token_)});
  }

  [[nodiscard]] bool number(std::uint64_t value) {
    if (!begun_) refuse("a number");
    if (value > static_cast<std::uint64_t>((std::numeric_limits<std::int32_t>::max)()))
      throw_io_error(file_, {"expected numbers of tokens below 2^31, got ", value, " for ", in_quotes(token_)});
    if (!numbers_.emplace(token_, static_cast<std::int32_t>(value)).second)
      throw_io_error(file_, {"expected every token once, got ", in_quotes(token_), " twice"});
    return true;
  }

  const std::string& file_;
  token_numbers& numbers_;
  std::string token_;  // the bytes of the last key
  bool begun_ = false;
};

/// Parses vocab.json. `file` names it in messages. Throws io_error.
[[nodiscard]] inline token_numbers parse_vocabulary(const std::string& file, std::string_view json) {
  token_numbers numbers;
  vocabulary_handler handler(file, numbers);
  rapidjson::MemoryStream stream(json.data(), json.size());
  rapidjson::Reader reader;
  const auto result = reader.Parse<rapidjson::kParseValidateEncodingFlag>(stream, handler);
  if (result.IsError())
    throw_io_error(
        file, {"expected JSON, got at its byte ", result.Offset(), ": ", rapidjson::GetParseError_En(result.Code())});
  // The reader takes a zero byte for the end of the text.
  if (stream.Tell() != json.size()) throw_io_error(file, {"expected nothing after the JSON, got more bytes"});
  return numbers;
}

/// Returns the tokens' bytes by their numbers. Throws io_error unless the numbers are 0, 1, ... up to the last.
[[nodiscard]] inline std::vector<std::string> tokens_in_order(const std::string& file, const token_numbers& numbers) {
  std::vector<std::string> tokens(numbers.size());
  std::vector<bool> taken(numbers.size());
  for (const auto& [token, number] : numbers) {
    const auto at = static_cast<std::size_t>(number);
    if (at >= tokens.size())
      throw_io_error(file, {"expected the numbers 0 to ", tokens.size() - 1, " for ", tokens.size(), " tokens, got ",
                            number, " for ", in_quotes(token)});
    if (taken[at])
      throw_io_error(file, {"expected a number of its own for every token, got ", number, " for ",
                            in_quotes(tokens[at]), " and ", in_quotes(token)});
    taken[at] = true;
    tokens[at] = token;
  }
  return tokens;
}

/// Parses merges.txt, whose tokens and their results must be in the vocabulary. Its first line may tell a version. A
/// merge that comes twice has its last rank, as in GPT-2. Throws io_error.
[[nodiscard]] inline merge_table parse_merges(const std::string& file, std::string_view text,
                                              const token_numbers& numbers) {
  std::size_t lines = 1;
  for (const char c : text) lines += c == '\n' ? 1 : 0;
  merge_table merges(lines);
  std::string left;
  std::string right;
  const auto number_of = [&](const std::string& token, std::size_t line, std::string_view what) {
    const auto found = numbers.find(token);
    if (found == numbers.end())
      throw_io_error(file, {"line ", line, ": expected ", what, " that the vocabulary has, got ", in_quotes(token),
                            "; are the two files of one model?"});
    return found->second;
  };
  for (std::size_t line = 1; !text.empty(); ++line) {
    const std::size_t length = text.find('\n');
    std::string_view pair = text.substr(0, length);
    text.remove_prefix(length == std::string_view::npos ? text.size() : length + 1);
    if (pair.ends_with('\r')) pair.remove_suffix(1);
    if ((line == 1 && pair.starts_with("#version")) || pair.empty()) continue;
    const std::size_t space = pair.find(' ');
    left.clear();
    right.clear();
    if (space == std::string_view::npos || space == 0 || space + 1 == pair.size() ||
        !append_bytes_of(pair.substr(0, space), left) || !append_bytes_of(pair.substr(space + 1), right))
      throw_io_error(
          file, {"line ", line, ": expected two tokens in GPT-2's alphabet of bytes and a space between them", ", got ",
                 in_quotes(pair)});
    const std::int32_t first = number_of(left, line, "a token");
    const std::int32_t second = number_of(right, line, "a token");
    const std::int32_t result = number_of(left + right, line, "a merge into a token");
    merges.set(first, second, {static_cast<std::uint32_t>(line), result});
  }
  return merges;
}

}  // namespace lockstep::data::detail
