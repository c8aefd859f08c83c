// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <cmath>
#include <cstdint>

#include <lockstep/core/config.hpp>

/// \file
/// The linear algebra of PowerSGD. M (rows x columns) is row-major; P (rows x rank) and Q (columns x rank) are
/// column-major. The order of every sum is fixed, so equal inputs give equal bits on every rank that runs the same
/// program.

namespace lockstep::detail {

inline constexpr std::int64_t low_rank_lanes = 16;  // a constant, so that the compiler vectorises at -O2 too

[[nodiscard]] inline float dot(std::int64_t n, const float* LOCKSTEP_RESTRICT a, const float* LOCKSTEP_RESTRICT b) {
  constexpr std::int64_t lanes = low_rank_lanes;
  float sums[lanes] = {};
  const std::int64_t whole = n - n % lanes;
  for (std::int64_t i = 0; i < whole; i += lanes)
    for (std::int64_t lane = 0; lane < lanes; ++lane) sums[lane] += a[i + lane] * b[i + lane];
  for (std::int64_t i = whole; i < n; ++i) sums[i - whole] += a[i] * b[i];
  for (std::int64_t half = lanes / 2; half > 0; half /= 2)
    for (std::int64_t lane = 0; lane < half; ++lane) sums[lane] += sums[lane + half];
  return sums[0];
}

/// y += factor * x.
inline void add_multiple(std::int64_t n, float factor, const float* LOCKSTEP_RESTRICT x, float* LOCKSTEP_RESTRICT y) {
  constexpr std::int64_t lanes = low_rank_lanes;
  const std::int64_t whole = n - n % lanes;
  for (std::int64_t i = 0; i < whole; i += lanes)
    for (std::int64_t lane = 0; lane < lanes; ++lane) y[i + lane] += factor * x[i + lane];
  for (std::int64_t i = whole; i < n; ++i) y[i] += factor * x[i];
}

/// P = M Q.
inline void multiply(std::int64_t rows, std::int64_t columns, int rank, const float* m, const float* q, float* p) {
  for (std::int64_t i = 0; i < rows; ++i)
    for (int k = 0; k < rank; ++k) p[k * rows + i] = dot(columns, m + i * columns, q + k * columns);
}

/// Q = M^T P.
inline void multiply_transposed(std::int64_t rows, std::int64_t columns, int rank, const float* m, const float* p,
                                float* q) {
  for (std::int64_t j = 0; j < rank * columns; ++j) q[j] = 0;
  for (std::int64_t i = 0; i < rows; ++i)
    for (int k = 0; k < rank; ++k) add_multiple(columns, p[k * rows + i], m + i * columns, q + k * columns);
}

/// M += sign * P Q^T.
inline void add_product(std::int64_t rows, std::int64_t columns, int rank, float sign, const float* p, const float* q,
                        float* m) {
  for (std::int64_t i = 0; i < rows; ++i)
    for (int k = 0; k < rank; ++k) add_multiple(columns, sign * p[k * rows + i], q + k * columns, m + i * columns);
}

/// Makes column `k` of n elements a unit vector orthogonal to the columns before it, by modified Gram-Schmidt, which
/// runs twice where much cancels. When only rounding noise would be left, sets the column to zero and returns false. A
/// NaN stays a NaN.
inline bool orthonormalize_column(std::int64_t n, int k, float* columns) {
  float* own = columns + k * n;
  const auto norm = [&] {
    double sum = 0;
    for (std::int64_t i = 0; i < n; ++i) sum += static_cast<double>(own[i]) * static_cast<double>(own[i]);
    return std::sqrt(sum);
  };
  const auto project = [&] {
    for (int j = 0; j < k; ++j) {
      const float* other = columns + j * n;
      double shared = 0;
      for (std::int64_t i = 0; i < n; ++i) shared += static_cast<double>(other[i]) * static_cast<double>(own[i]);
      for (std::int64_t i = 0; i < n; ++i)
        own[i] = static_cast<float>(static_cast<double>(own[i]) - shared * static_cast<double>(other[i]));
    }
    return norm();
  };
  // A float is exact to 6e-8 of its size: a column whose rest is below some multiple of that is rounding noise, not a
  // direction of the data.
  constexpr double noise = 1e-6;
  constexpr double cancelled = 0.1;
  const double before = norm();
  double after = project();
  bool vanished = after <= noise * before;
  if (!vanished && after < cancelled * before) after = project();
  vanished = vanished || after == 0;
  const double scale = vanished ? 0 : 1 / after;
  for (std::int64_t i = 0; i < n; ++i)
    own[i] = vanished ? 0.F : static_cast<float>(static_cast<double>(own[i]) * scale);
  return !vanished;
}

[[nodiscard]] inline bool all_finite(std::int64_t n, const float* values) {
  bool finite = true;
  for (std::int64_t i = 0; i < n; ++i) finite = finite && std::isfinite(values[i]);
  return finite;
}

}  // namespace lockstep::detail
