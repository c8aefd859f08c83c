// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <lockstep/core/config.hpp>

#include <algorithm>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

#include <lockstep/core/error.hpp>
#include <lockstep/core/shape.hpp>
#include <lockstep/core/tensor.hpp>
#include <lockstep/core/token.hpp>
#include <lockstep/parallel/trainer/user_arrays.hpp>

/// \file
/// What a user passes as the tokens of a batch: integers of any type, in the containers that hold values.

namespace lockstep::detail {

/// The type of the elements of what a user hands in; void for what has none.
template <class Tokens>
consteval auto find_element() {
  if constexpr (has_view<Tokens> || mdspan_like<Tokens>)
    return std::type_identity<std::remove_cv_t<
        typename std::remove_cvref_t<decltype(view_of(std::declval<const Tokens&>()))>::element_type>>{};
  else if constexpr (contiguous_values<const Tokens>)
    return std::type_identity<std::remove_cv_t<typename span_over<const Tokens>::element_type>>{};
  else
    return std::type_identity<void>{};
}

template <class Given>
consteval bool require_integers() {
  static_assert(std::integral<Given>,
                "lockstep: tokens: they are integers of any type, and the elements that are handed in (Given) are "
                "none; convert them");
  return std::integral<Given>;
}

[[noreturn, gnu::cold, gnu::noinline]] inline void refuse_token(std::string_view who, const std::string& token,
                                                                std::int64_t position, std::int64_t length,
                                                                std::int64_t vocabulary) {
  throw value_error(
      who, "tokens in 0.." + std::to_string(vocabulary - 1),
      token + " at position " + std::to_string(position % length) + " of sample " + std::to_string(position / length),
      "encode the text with the vocabulary of the model");
}

/// Throws value_error for the first of `count` tokens, `length` a sample, that is not below `vocabulary`.
template <std::integral T>
void check_tokens(std::string_view who, const T* tokens, std::int64_t count, std::int64_t length,
                  std::int64_t vocabulary) {
  // The plus sign promotes a bool or a character to an int.
  const auto fits = [=](T token) { return std::cmp_greater_equal(+token, 0) && std::cmp_less(+token, vocabulary); };
  bool all = true;
  for (std::int64_t i = 0; i < count; ++i) all = all & fits(tokens[i]);  // without a branch, which vectors have not
  if (all) return;
  const std::int64_t first = std::find_if_not(tokens, tokens + count, fits) - tokens;
  refuse_token(who, std::to_string(+tokens[first]), first, length, vocabulary);
}

/// A user's tokens as the view that a trainer reads: the user's own memory where the type fits, else a copy in
/// `copies`. Throws shape_error when their number does not fit, value_error for a token outside of the vocabulary.
template <dims Sample, class Tokens>
[[nodiscard]] tensor_view<const token_id, batch_shape<Sample>> take_tokens(std::string_view who, const Tokens& tokens,
                                                                           std::int64_t vocabulary,
                                                                           std::vector<token_id>& copies) {
  using element = typename decltype(find_element<Tokens>())::type;
  if constexpr (std::is_void_v<element>) {
    return take_images<token_id, Sample>(who, tokens);  // says what it may be
  } else if constexpr (require_integers<element>()) {
    const auto given = take_images<element, Sample>(who, tokens);
    const std::int64_t samples = given.extent(0);
    const std::int64_t count = samples * Sample.size();
    check_tokens(who, given.data_handle(), count, Sample.size(), vocabulary);
    if constexpr (std::is_same_v<element, token_id>) {
      return given;
    } else {
      copies.assign(given.data_handle(), given.data_handle() + count);
      return tensor_view<const token_id, batch_shape<Sample>>(copies.data(), samples);
    }
  } else {
    return {};
  }
}

}  // namespace lockstep::detail
