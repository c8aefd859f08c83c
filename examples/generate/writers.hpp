// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <cstdint>
#include <string>

#include <lockstep/generate/sampling.hpp>

namespace lockstep_generate {

/// A model that this program was built with.
struct text_model {
  std::int64_t longest_prompt;  ///< bytes that it remembers, at most
  /// The bytes that it writes after a prompt, with the parameters of a file. Throws lockstep::error for a file that
  /// does not have them.
  std::string (*write)(const std::string& weights, const std::string& prompt, std::int64_t count,
                       const lockstep::sampling& how);
};

// In sources of their own, which compile side by side.
[[nodiscard]] text_model gpt();
[[nodiscard]] text_model lstm();

}  // namespace lockstep_generate
