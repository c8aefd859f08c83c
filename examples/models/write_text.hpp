// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <algorithm>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include <lockstep/generate/generator.hpp>

namespace models {

/// Bytes that a model of a vocabulary of bytes remembers, at most: as many as there are positions that all of its
/// layers know.
template <class Model>
inline constexpr std::int64_t longest_text = lockstep::detail::most_rows<Model>();

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
