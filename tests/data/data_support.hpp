// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <cstddef>
#include <cstdint>
#include <random>
#include <string>
#include <vector>

#include <lockstep/core/error.hpp>

#include "support/temporary_folder.hpp"

namespace lockstep_test {

using bytes = std::vector<std::uint8_t>;

/// The message of the Error that `action` throws, or a text no message equals. Other exceptions pass.
template <class Error, class Action>
[[nodiscard]] std::string error_of(Action&& action) {
  try {
    action();
  } catch (const Error& error) {
    return error.what();
  }
  return "(nothing was thrown)";
}

template <class Action>
[[nodiscard]] std::string io_error_of(Action&& action) {
  return error_of<lockstep::io_error>(action);
}

/// Empty when `text` holds every part; else says which it lacks.
[[nodiscard]] inline std::string lacking(const std::string& text, const std::vector<std::string>& parts) {
  std::string result;
  for (const std::string& part : parts)
    if (text.find(part) == std::string::npos) result += "\"" + part + "\" is not in \"" + text + "\"; ";
  return result;
}

[[nodiscard]] inline bytes random_bytes(std::size_t count, std::uint32_t seed) {
  std::mt19937 engine(seed);
  bytes result(count);
  for (auto& byte : result) byte = static_cast<std::uint8_t>(engine());
  return result;
}

}  // namespace lockstep_test
