// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>

#include <lockstep/model/network_plan.hpp>

namespace lockstep::detail {

/// A range to place in the arena. It lives from time `begin` to time `end` (inclusive).
struct arena_range {
  std::int64_t size = 0;
  int begin = 0;
  int end = 0;
  std::int64_t offset = no_buffer;
};

/// Rounds sizes up to 16 elements, so that every range of four-byte elements starts on a 64-byte line for any number of
/// samples.
constexpr std::int64_t arena_round(std::int64_t size) { return (size + 15) / 16 * 16; }

/// Places the largest ranges first, each at the lowest offset where no range alive at the same time lies. Returns the
/// arena's size. O(n^2) for n ranges. First-fit decreasing, as in the "greedy by size" strategy of Pisarchyk and Lee,
/// MLSys 2020.
template <std::size_t N>
constexpr std::int64_t place(std::array<arena_range, N>& ranges, std::size_t count) {
  std::int64_t total = 0;
  std::array<std::size_t, N> placed{};  // in order of offset
  std::size_t placed_count = 0;
  std::array<bool, N> done{};
  for (std::size_t round = 0; round < count; ++round) {
    std::size_t best = count;
    for (std::size_t i = 0; i < count; ++i)
      if (!done[i] && (best == count || ranges[i].size > ranges[best].size)) best = i;
    done[best] = true;
    arena_range& range = ranges[best];
    std::int64_t offset = 0;
    for (std::size_t k = 0; k < placed_count; ++k) {
      const arena_range& other = ranges[placed[k]];
      if (other.end < range.begin || range.end < other.begin) continue;
      if (offset + range.size <= other.offset) break;
      if (other.offset + other.size > offset) offset = other.offset + other.size;
    }
    range.offset = offset;
    if (offset + range.size > total) total = offset + range.size;
    std::size_t at = placed_count++;
    while (at > 0 && ranges[placed[at - 1]].offset > offset) {
      placed[at] = placed[at - 1];
      --at;
    }
    placed[at] = best;
  }
  return total;
}

}  // namespace lockstep::detail
