// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <algorithm>
#include <cstdint>
#include <vector>

namespace lockstep::detail {

/// Elements [first, last) of the flat parameters.
struct element_range {
  std::int64_t first = 0;
  std::int64_t last = 0;
};

/// Calls f(first, last) for the parts of [first, last) that lie in one of the ranges.
template <class F>
void each_part(const std::vector<element_range>& ranges, std::int64_t first, std::int64_t last, const F& f) {
  for (const element_range& range : ranges) {
    const std::int64_t begin = std::max(first, range.first);
    const std::int64_t end = std::min(last, range.last);
    if (begin < end) f(begin, end);
  }
}

}  // namespace lockstep::detail
