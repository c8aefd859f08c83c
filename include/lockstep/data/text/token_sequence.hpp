// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <concepts>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include <lockstep/core/error.hpp>
#include <lockstep/io/message.hpp>

namespace lockstep::data {

/// A whole-number type whose values fit the std::int32_t of a batch.
template <class T>
concept token_type =
    std::integral<T> && !std::same_as<T, bool> && (sizeof(T) < sizeof(std::int32_t) || std::same_as<T, std::int32_t>);

/// The tokens of a text, which are indices into a vocabulary: bytes, or what a tokenizer makes of them. Immutable; a
/// copy and a part share the tokens, so both cost nothing, and any number of threads may read them.
template <token_type Token>
class token_sequence {
 public:
  using value_type = Token;

  token_sequence() = default;
  explicit token_sequence(std::vector<Token> tokens)
      : storage_(std::make_shared<const std::vector<Token>>(std::move(tokens))), tokens_(*storage_) {}

  /// Number of tokens.
  [[nodiscard]] std::int64_t size() const noexcept { return static_cast<std::int64_t>(tokens_.size()); }

  [[nodiscard]] std::span<const Token> values() const& noexcept { return tokens_; }
  std::span<const Token> values() const&& = delete;  // lockstep: name the sequence, which keeps its tokens

  /// Returns `count` tokens from `first` on. Throws value_error when the sequence does not have them.
  [[nodiscard]] token_sequence part(std::int64_t first, std::int64_t count) const {
    if (first < 0 || count < 0 || first > size() || count > size() - first)
      throw value_error("token_sequence", lockstep::detail::message({"a part of ", size(), " tokens"}),
                        lockstep::detail::message({count, " tokens from token ", first, " on"}));
    token_sequence result(*this);
    result.tokens_ = tokens_.subspan(static_cast<std::size_t>(first), static_cast<std::size_t>(count));
    return result;
  }

 private:
  std::shared_ptr<const std::vector<Token>> storage_;
  std::span<const Token> tokens_;
};

/// The two parts of a text: `auto [train, validation] = text_file("input.txt");`.
template <token_type Token>
struct text_split {
  token_sequence<Token> train;
  token_sequence<Token> validation;
};

/// Splits a text into the last tenth of its tokens (rounded down), to validate on, and those before it. Copies nothing.
template <token_type Token>
[[nodiscard]] text_split<Token> split_text(const token_sequence<Token>& all) {
  const std::int64_t validation = all.size() / 10;
  return {all.part(0, all.size() - validation), all.part(all.size() - validation, validation)};
}

}  // namespace lockstep::data
