// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <lockstep/core/config.hpp>

#include <cstdint>

/// \file
/// A row that is added to many rows, and the mean of rows, for backends whose memory the host reads.

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

/// y = the means of the `rows` rows of each sample of x.
template <class A>
void mean_rows(std::int64_t samples, std::int64_t rows, std::int64_t width, const A* x, A* y) {
  for (std::int64_t s = 0; s < samples; ++s, x += rows * width, y += width)
    for (std::int64_t i = 0; i < width; ++i) {
      double sum = 0;
      for (std::int64_t r = 0; r < rows; ++r) sum += static_cast<double>(x[r * width + i]);
      y[i] = static_cast<A>(sum / static_cast<double>(rows));
    }
}

/// dx = the row dy of each sample / `rows`, so many times.
template <class A>
void mean_rows_backward(std::int64_t samples, std::int64_t rows, std::int64_t width, const A* dy, A* dx) {
  for (std::int64_t s = 0; s < samples; ++s, dy += width)
    for (std::int64_t r = 0; r < rows; ++r, dx += width)
      for (std::int64_t i = 0; i < width; ++i)
        dx[i] = static_cast<A>(static_cast<double>(dy[i]) / static_cast<double>(rows));
}

}  // namespace lockstep::host
