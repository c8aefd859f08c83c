// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <lockstep/core/config.hpp>

#include <algorithm>
#include <cstdint>

namespace lockstep {

/// A replica's part of a batch: samples [first, first + count).
struct shard_range {
  std::int64_t first = 0;
  std::int64_t count = 0;

  friend constexpr bool operator==(const shard_range&, const shard_range&) = default;
};

/// Returns the part of `total` samples that replica `r` of `n` gets. Parts are contiguous and in order; their sizes
/// differ by at most one, and the first `total % n` are the longer ones. (torch.chunk instead gives the last replica a
/// short part, or none.)
[[nodiscard]] constexpr shard_range shard_of(std::int64_t total, int n, int r) {
  const std::int64_t base = total / n;
  const std::int64_t longer = total % n;
  return {r * base + std::min<std::int64_t>(r, longer), base + (r < longer ? 1 : 0)};
}

}  // namespace lockstep
