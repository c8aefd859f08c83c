// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include <lockstep/core/error.hpp>
#include <lockstep/data/column.hpp>
#include <lockstep/data/field.hpp>
#include <lockstep/data/table.hpp>
#include <lockstep/io/message.hpp>

namespace lockstep::data {

struct document_options {
  std::int32_t padding = 0;           ///< the token after the end of a document that is shorter than T
  std::optional<std::int32_t> end{};  ///< a token to put after each document, such as a tokenizer's end_of_text()
  std::int64_t ignored = -100;        ///< the target of a token that nothing follows, and of padding
};

namespace detail {

/// Documents of T tokens each, padded or cut.
struct padded_documents {
  std::vector<std::int32_t> tokens;
  std::vector<std::int64_t> next;     // the token that follows each, or the ignored target
  std::vector<std::int64_t> lengths;  // tokens that are no padding
};

/// Takes a range of ranges of tokens.
template <class Documents>
[[nodiscard]] padded_documents pad_documents(const Documents& documents, std::int64_t most,
                                             const document_options& options) {
  padded_documents result;
  std::vector<std::int32_t> whole;
  for (const auto& document : documents) {
    static_assert(iterable<decltype(document)>,
                  "lockstep: documents: expected a range of documents, each of them a range of tokens");
    whole.clear();
    append_numbers(document, whole);
    if (options.end) whole.push_back(*options.end);
    if (whole.empty())
      throw value_error("documents", "one token or more in each document",
                        lockstep::detail::message({"none in document ", result.lengths.size()}),
                        "leave empty documents out, or let .end be the token after each");
    const auto length = (std::min)(static_cast<std::ptrdiff_t>(whole.size()), static_cast<std::ptrdiff_t>(most));
    const auto followed = (std::min)(static_cast<std::ptrdiff_t>(whole.size()) - 1, length);
    const auto wanted = (result.lengths.size() + 1) * static_cast<std::size_t>(most);
    result.tokens.insert(result.tokens.end(), whole.begin(), whole.begin() + length);
    result.tokens.resize(wanted, options.padding);
    result.next.insert(result.next.end(), whole.begin() + 1, whole.begin() + 1 + followed);
    result.next.resize(wanted, options.ignored);
    result.lengths.push_back(length);
  }
  return result;
}

}  // namespace detail

/// Makes samples of T tokens out of documents, which are ranges of tokens: `auto samples = documents<256>(texts);`. The
/// fields are the tokens, the targets (the token after each) and the document's length. A shorter document is padded,
/// and the targets of its last token and of the padding are ignored; of a longer one the beginning is taken. A length
/// counts tokens that are no padding, so it is at most T.
/// Throws value_error for a document without a token, and for a token that std::int32_t does not hold.
template <std::int64_t T, class Documents>
[[nodiscard]] auto documents(const Documents& from, const document_options& options = {}) {
  static_assert(T > 0, "lockstep: documents: a sample has one token or more, as in documents<256>");
  auto padded = detail::pad_documents(from, T, options);
  return dataset<field<std::int32_t, T>, field<std::int64_t, T>, field<std::int64_t>>(
      std::move(padded.tokens), std::move(padded.next), std::move(padded.lengths));
}

/// The same for documents that have a label each: the fields are the tokens, the label and the document's length.
/// Throws as above, and shape_error unless there are as many labels as documents.
template <std::int64_t T, class Documents>
[[nodiscard]] auto labelled_documents(const Documents& from, std::vector<std::int64_t> labels,
                                      const document_options& options = {}) {
  static_assert(T > 0, "lockstep: documents: a sample has one token or more, as in documents<256>");
  auto padded = detail::pad_documents(from, T, options);
  return dataset<field<std::int32_t, T>, field<std::int64_t>, field<std::int64_t>>(
      std::move(padded.tokens), std::move(labels), std::move(padded.lengths));
}

}  // namespace lockstep::data
