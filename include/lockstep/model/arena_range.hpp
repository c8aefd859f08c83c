// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <lockstep/core/config.hpp>

#include <algorithm>
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

/// Ranges on the way to their places. Places the largest ranges first, each at the lowest offset where no range alive
/// at the same time lies: O(n^2) for n ranges. First-fit decreasing, as in the "greedy by size" strategy of Pisarchyk
/// and Lee, MLSys 2020.
///
/// A compiler limits the steps of one constant. The ranges of a deep network are therefore placed in several constants,
/// some in each; and the arrays are plain, because each call of std::array's operator[] costs steps.
template <std::size_t N>
struct arena_placement {
  arena_range ranges[N]{};
  std::size_t count = 0;
  std::int64_t size = 0;  ///< of the arena, so far

  /// Appends a range and returns its number.
  constexpr std::size_t add(std::int64_t elements, int begin, int end) {
    ranges[count] = {elements, begin, end, no_buffer};
    return count++;
  }

  /// Before the first `place`: decides the order.
  constexpr void sort() {
    for (std::size_t i = 0; i < count; ++i) order_[i] = i;
    std::sort(order_, order_ + count, [&](std::size_t a, std::size_t b) {
      return ranges[a].size != ranges[b].size ? ranges[a].size > ranges[b].size : a < b;
    });
  }

  /// Places at most `most` further ranges.
  constexpr void place(std::size_t most) {
    const std::size_t last = (std::min)(count, placed_count_ + most);
    while (placed_count_ < last) {
      const std::size_t next = order_[placed_count_];
      arena_range& range = ranges[next];
      std::int64_t offset = 0;
      for (std::size_t k = 0; k < placed_count_; ++k) {
        const arena_range& other = ranges[placed_[k]];
        if (other.end < range.begin || range.end < other.begin) continue;
        if (offset + range.size <= other.offset) break;
        if (other.offset + other.size > offset) offset = other.offset + other.size;
      }
      range.offset = offset;
      size = (std::max)(size, offset + range.size);
      std::size_t at = placed_count_++;
      for (; at > 0 && ranges[placed_[at - 1]].offset > offset; --at) placed_[at] = placed_[at - 1];
      placed_[at] = next;
    }
  }

  std::size_t order_[N]{};   ///< the largest first
  std::size_t placed_[N]{};  ///< in order of offset
  std::size_t placed_count_ = 0;
};

/// How many ranges are placed in one constant.
inline constexpr std::size_t placed_at_once = 64;

/// A sorted placement, with the first `Times` times `placed_at_once` ranges placed. `Start::value` is the placement.
template <class Start, std::size_t Times>
struct placed_ranges {
  static constexpr auto value = [] {
    auto next = placed_ranges<Start, Times - 1>::value;
    next.place(placed_at_once);
    return next;
  }();
};
template <class Start>
struct placed_ranges<Start, 0> {
  static constexpr auto value = [] {
    auto next = Start::value;
    next.sort();
    return next;
  }();
};

/// The same, with all ranges placed.
template <class Start>
inline constexpr const auto& all_placed =
    placed_ranges<Start, (Start::value.count + placed_at_once - 1) / placed_at_once>::value;

}  // namespace lockstep::detail
