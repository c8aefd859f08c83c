// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <lockstep/core/config.hpp>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <vector>

namespace lockstep::detail {

/// Elements [first, last) of the flat parameters.
struct element_range {
  std::int64_t first = 0;
  std::int64_t last = 0;
  std::int64_t state_steps = 0;  ///< steps that have changed the optimizer's state of these elements
  double rate = 1;               ///< factor of the optimizer's learning rate
  double decay = 1;              ///< factor of its weight decay
  int matrix = -1;               ///< the parameter that is updated as one matrix; -1: each element on its own
};

/// Calls f(begin, end, i) for each range i that overlaps [first, last); the overlap is [begin, end).
template <class F>
void each_part(const std::vector<element_range>& ranges, std::int64_t first, std::int64_t last, const F& f) {
  for (std::size_t i = 0; i < ranges.size(); ++i) {
    const std::int64_t begin = (std::max)(first, ranges[i].first);
    const std::int64_t end = (std::min)(last, ranges[i].last);
    if (begin < end) f(begin, end, i);
  }
}

}  // namespace lockstep::detail
