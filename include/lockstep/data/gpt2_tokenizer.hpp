// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <lockstep/core/error.hpp>
#include <lockstep/data/folder.hpp>
#include <lockstep/data/text/merges.hpp>
#include <lockstep/data/text/utf8.hpp>
#include <lockstep/data/text/vocabulary_file.hpp>
#include <lockstep/data/text/words.hpp>
#include <lockstep/io/file.hpp>
#include <lockstep/io/message.hpp>

namespace lockstep::data {

/// What a tokenizer makes of the characters <|endoftext|> in a text.
enum class special_tokens : std::uint8_t {
  as_text,    ///< tokens that spell it: right for texts that others wrote
  recognised  ///< the one token, which ends a document
};

/// GPT-2's byte-pair encoding, from a model's own vocab.json and merges.txt. Texts are bytes, mostly in UTF-8; bytes
/// that are not are encoded too, and decode(encode(text)) == text for all of them.
///
/// A text is cut into words by GPT-2's pattern, with letters and numbers as Unicode 14 has them, and each word's bytes
/// are merged. Any number of threads may use a tokenizer.
/// Source: Radford et al., "Language models are unsupervised multitask learners", 2019, and its encoder.py.
class gpt2_tokenizer {
 public:
  /// Reads a model's two files. Throws io_error, naming the file, when one cannot be read or is not of the format; when
  /// the vocabulary lacks one of the 256 bytes, or numbers its tokens with gaps; and when it lacks a token of a merge.
  gpt2_tokenizer(const std::string& vocabulary_path, const std::string& merges_path)
      : gpt2_tokenizer{vocabulary_path, read(vocabulary_path), merges_path, read(merges_path)} {}  // in this order

  /// Reads vocab.json and merges.txt, or encoder.json and vocab.bpe, as OpenAI named them. Throws as above.
  [[nodiscard]] static gpt2_tokenizer from_folder(const std::string& folder) {
    detail::require_folder(folder);
    const bool as_openai = detail::holds_file(folder, "encoder.json") && !detail::holds_file(folder, "vocab.json");
    return {detail::path_in(folder, as_openai ? "encoder.json" : "vocab.json"),
            detail::path_in(folder, as_openai ? "vocab.bpe" : "merges.txt")};
  }

  /// The same from the files' contents. Messages call them vocab.json and merges.txt.
  [[nodiscard]] static gpt2_tokenizer parse(std::string_view vocabulary, std::string_view merges) {
    return {"vocab.json", vocabulary, "merges.txt", merges};
  }

  /// Number of tokens in the vocabulary.
  [[nodiscard]] std::int64_t size() const noexcept { return static_cast<std::int64_t>(tokens_.size()); }

  /// The bytes of a token. Throws value_error for a number that no token has.
  [[nodiscard]] std::string_view token(std::int32_t number) const {
    if (number < 0 || number >= size())
      throw value_error("gpt2_tokenizer", lockstep::detail::message({"tokens from 0 to ", size() - 1}),
                        std::to_string(number));
    return tokens_[static_cast<std::size_t>(number)];
  }

  /// The number of <|endoftext|>. Throws value_error when the vocabulary does not have it.
  [[nodiscard]] std::int32_t end_of_text() const {
    if (end_of_text_ < 0)
      throw value_error("gpt2_tokenizer", "a vocabulary with the token <|endoftext|>", "one without it");
    return end_of_text_;
  }

  /// Returns the tokens of a text. `recognised` makes no difference where the vocabulary has no <|endoftext|>.
  /// Throws value_error for a text of 2^32 bytes or more. Takes n log n steps for n bytes, whatever they are.
  [[nodiscard]] std::vector<std::int32_t> encode(std::string_view text,
                                                 special_tokens special = special_tokens::as_text) const {
    if (text.size() > (std::numeric_limits<std::uint32_t>::max)())
      throw value_error("gpt2_tokenizer", "a text of fewer than 2^32 bytes", std::to_string(text.size()),
                        "encode it in pieces, each from the beginning of a line");
    std::vector<std::int32_t> result;
    result.reserve(text.size() / 3);  // English has four bytes or so a token
    detail::word_merger merge(merges_);
    const bool recognised = special == special_tokens::recognised && end_of_text_ >= 0;
    for (;;) {
      const std::size_t end = recognised ? text.find(end_of_text_name) : std::string_view::npos;
      append_plain(text.substr(0, end), merge, result);
      if (end == std::string_view::npos) return result;
      result.push_back(end_of_text_);
      text.remove_prefix(end + end_of_text_name.size());
    }
  }

  /// Returns the bytes that tokens stand for. Throws value_error for a number that no token has.
  [[nodiscard]] std::string decode(std::span<const std::int32_t> tokens) const {
    std::string result;
    for (const std::int32_t number : tokens) result.append(token(number));
    return result;
  }

  /// The same as text in UTF-8: what is invalid is replaced by U+FFFD. A character may lie in several tokens, so decode
  /// all of them at once.
  [[nodiscard]] std::string decode_text(std::span<const std::int32_t> tokens) const {
    return replace_invalid_utf8(decode(tokens));
  }

 private:
  static constexpr std::string_view end_of_text_name = "<|endoftext|>";

  gpt2_tokenizer(const std::string& vocabulary_name, std::string_view vocabulary, const std::string& merges_name,
                 std::string_view merges)
      : numbers_(detail::parse_vocabulary(vocabulary_name, vocabulary)),
        tokens_(detail::tokens_in_order(vocabulary_name, numbers_)),
        merges_(detail::parse_merges(merges_name, merges, numbers_)) {
    for (std::size_t byte = 0; byte < 256; ++byte) {
      const auto found = numbers_.find(std::string(1, static_cast<char>(byte)));
      if (found == numbers_.end())
        throw io_error(vocabulary_name,
                       lockstep::detail::message({"expected a token for each of the 256 bytes, found none for byte ",
                                                  byte, "; a vocabulary of another kind of tokenizer?"}));
      bytes_[byte] = found->second;
    }
    if (const auto found = numbers_.find(end_of_text_name); found != numbers_.end()) end_of_text_ = found->second;
    keep_whole_words();
  }

  [[nodiscard]] static std::string read(const std::string& path) {
    constexpr std::int64_t longest = std::int64_t{1} << 28U;  // GPT-2's have a million bytes
    const auto bytes = read_file(path, longest);
    return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
  }

  /// Leaves in `numbers_` the words that merge into one token: most words of a text are found there at once.
  void keep_whole_words() {
    detail::word_merger merge(merges_);
    std::vector<std::int32_t> word;
    std::erase_if(numbers_, [&](const auto& entry) {
      spell(entry.first, word);
      merge(word);
      return word.size() != 1;
    });
  }

  /// Sets `to` to the tokens of the single bytes.
  void spell(std::string_view word, std::vector<std::int32_t>& to) const {
    to.clear();
    for (const char byte : word) to.push_back(bytes_[static_cast<std::uint8_t>(byte)]);
  }

  void append_plain(std::string_view text, detail::word_merger& merge, std::vector<std::int32_t>& to) const {
    std::vector<std::int32_t> merged;
    for (std::size_t at = 0; at < text.size();) {
      const std::size_t end = detail::end_of_word(text, at);
      const std::string_view word = text.substr(at, end - at);
      at = end;
      if (const auto found = numbers_.find(word); found != numbers_.end()) {
        to.push_back(found->second);
        continue;
      }
      spell(word, merged);
      merge(merged);
      to.insert(to.end(), merged.begin(), merged.end());
    }
  }

  detail::token_numbers numbers_;
  std::vector<std::string> tokens_;
  detail::merge_table merges_;
  std::array<std::int32_t, 256> bytes_{};
  std::int32_t end_of_text_ = -1;  // none
};

}  // namespace lockstep::data
