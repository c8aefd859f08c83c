// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <lockstep/core/config.hpp>

#include <cstdint>

namespace lockstep {

/// A table with a row of `width` values for each of `vocabulary` tokens.
struct embedding_geometry {
  std::int64_t vocabulary = 1;
  std::int64_t width = 1;
  std::int64_t padding = -1;  ///< the token whose row gets no gradient; -1: none

  friend constexpr bool operator==(const embedding_geometry&, const embedding_geometry&) = default;
};

}  // namespace lockstep
