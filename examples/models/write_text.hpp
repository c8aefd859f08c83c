// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <lockstep/generate/generator.hpp>

namespace models {

/// Bytes that a model of a vocabulary of bytes remembers, at most: of its layers, the one that knows the fewest
/// positions. 0 for a model with a layer that cannot be run row by row.
template <class Model>
inline constexpr std::int64_t longest_text = [] {
  const bool by_rows = []<std::size_t... Leaf>(std::index_sequence<Leaf...>) {
    return (... && (Model::template leaf<Leaf>::traits.rows != lockstep::row_rule::mixed));
  }(std::make_index_sequence<Model::leaf_count>{});
  return by_rows ? lockstep::detail::most_rows<Model>() : 0;
}();

/// The `count` bytes that a model writes after a prompt. `load` gets the generator and gives it its parameters. A model
/// that knows no end of positions remembers the whole text. Throws lockstep::value_error for a prompt that is empty or
/// longer than it remembers, and what `load` throws.
template <class Model, class Load>
[[nodiscard]] std::string write_text(std::string_view prompt, std::int64_t count, const lockstep::sampling& how,
                                     const Load& load) {
  const auto length = static_cast<std::int64_t>(prompt.size());
  const std::int64_t context =
      std::min(std::max(Model::input_dims[0], std::min(count, longest_text<Model>) + length), longest_text<Model>);
  lockstep::generator<Model> writer({.context = context});
  load(writer);
  std::vector<lockstep::token_id> read;
  for (const char c : prompt) read.push_back(static_cast<unsigned char>(c));
  std::string text;
  for (const lockstep::token_id token : writer.generate(read, count, how)) text += static_cast<char>(token);
  return text;
}

}  // namespace models
