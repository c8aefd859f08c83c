// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <span>
#include <string>
#include <tuple>
#include <utility>

#include <lockstep/core/error.hpp>
#include <lockstep/data/batch.hpp>
#include <lockstep/data/field.hpp>
#include <lockstep/data/text/token_sequence.hpp>
#include <lockstep/io/message.hpp>

namespace lockstep::data {

/// A sample that is cut out of a text: T tokens, and as targets the T tokens that each of them is followed by.
template <std::int64_t T, token_type Token>
struct window;

namespace detail {

template <std::int64_t T, class Token>
struct batch_fields<window<T, Token>> {
  using type = field_list<field<std::int32_t, T>, field<std::int64_t, T>>;
};

template <std::int64_t T, class Token>
struct loader_batch<window<T, Token>> {
  using type = batch<field<std::int32_t, T>, field<std::int64_t, T>>;
};

}  // namespace detail

/// The windows of a text. Sample i is the tokens [i * stride, i * stride + T), its targets are the same shifted by one.
/// Holds the text once, however much windows overlap. A loader yields tokens as a view of (B, T) std::int32_t, and
/// targets as a span of B * T std::int64_t, or by `batch.view<1>()` as a view of (B, T).
template <std::int64_t T, token_type Token>
class dataset<window<T, Token>> {
  static_assert(T > 0, "lockstep: windows: a window has one token or more, as in windows<128>(text)");

 public:
  /// Throws value_error when the stride is below one, or the text is shorter than a window and the token after it.
  dataset(token_sequence<Token> text, std::int64_t stride) : text_(std::move(text)), stride_(stride) {
    if (stride_ < 1) throw value_error("windows", "a stride of one token or more", std::to_string(stride_));
    if (text_.size() <= T)
      throw value_error("windows", lockstep::detail::message({"a text of ", T, " tokens or more, and one after them"}),
                        std::to_string(text_.size()), "take shorter windows or a longer text");
  }

  /// Number of windows: floor((length - 1 - T) / stride) + 1, which is floor((length - 1) / T) for a stride of T.
  [[nodiscard]] std::int64_t size() const noexcept { return (text_.size() - 1 - T) / stride_ + 1; }

  [[nodiscard]] const token_sequence<Token>& text() const noexcept { return text_; }
  [[nodiscard]] std::int64_t stride() const noexcept { return stride_; }

  /// One window and the token after it, T + 1 in all; the index is not checked.
  [[nodiscard]] std::span<const Token> stored(std::int64_t index) const noexcept {
    return text_.values().subspan(static_cast<std::size_t>(index * stride_), static_cast<std::size_t>(T + 1));
  }

  /// Writes a sample to a place of a batch.
  void copy_sample(std::int64_t index, std::int64_t place, const std::tuple<std::int32_t*, std::int64_t*>& to) const {
    const std::span<const Token> from = stored(index);
    std::copy_n(from.begin(), T, std::get<0>(to) + place * T);
    std::copy_n(from.begin() + 1, T, std::get<1>(to) + place * T);
  }

 private:
  token_sequence<Token> text_;
  std::int64_t stride_;
};

struct window_options {
  std::int64_t stride = 0;  ///< tokens from the beginning of one window to that of the next; 0 for T
};

/// Cuts a text into windows of T tokens: `auto samples = windows<128>(train);`. They lie side by side, or `stride`
/// tokens apart: with 1, every place of the text begins a window; see window_sampler. Copies nothing.
/// Throws value_error when the stride is negative or the text has T tokens or fewer.
template <std::int64_t T, token_type Token>
[[nodiscard]] dataset<window<T, Token>> windows(token_sequence<Token> text, const window_options& options = {}) {
  return dataset<window<T, Token>>(std::move(text), options.stride == 0 ? T : options.stride);
}

}  // namespace lockstep::data
