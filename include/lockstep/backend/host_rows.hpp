// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <lockstep/core/config.hpp>

#include <cstdint>

/// \file
/// A row that is added to many rows, for backends whose memory the host reads.

namespace lockstep::host {

/// y = each of `rows` rows of x, plus `row`. y may be x.
template <class A>
void add_row(std::int64_t rows, std::int64_t width, const A* x, const A* row, A* y) {
  for (std::int64_t r = 0; r < rows; ++r, x += width, y += width)
    for (std::int64_t i = 0; i < width; ++i) y[i] = x[i] + row[i];
}

/// sums (+)= the sum of `rows` rows of x.
template <class A, class T>
void sum_rows(std::int64_t rows, std::int64_t width, const A* x, T* sums, bool accumulate) {
  for (std::int64_t i = 0; i < width; ++i) {
    double sum = 0;
    for (std::int64_t r = 0; r < rows; ++r) sum += static_cast<double>(x[r * width + i]);
    sums[i] = static_cast<T>(sum) + (accumulate ? sums[i] : T{0});
  }
}

}  // namespace lockstep::host
