// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <cstdio>
#include <string_view>

#include <fmt/core.h>

namespace lockstep_train {

/// One line on stderr. The library's messages carry its own name in front, which gives way to the program's.
inline void complain(std::string_view message) {
  constexpr std::string_view prefix = "lockstep: ";
  if (message.substr(0, prefix.size()) == prefix) message.remove_prefix(prefix.size());
  std::fflush(stdout);
  fmt::print(stderr, "lockstep-train: {}\n", message);
}

}  // namespace lockstep_train
