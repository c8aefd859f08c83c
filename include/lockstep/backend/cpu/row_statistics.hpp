// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>

#include <lockstep/backend/cpu/simd.hpp>
#include <lockstep/backend/host_sample_norm.hpp>
#include <lockstep/core/config.hpp>

/// \file
/// Sums over rows of n elements, and what rows are normalised by. Rows are taken two at a time, so that the few
/// operations on a row's sums wait less for each other. Sums over a piece of a row are taken in float, in a few
/// vectors, and the pieces' sums in double: their order depends on n alone.

namespace lockstep::cpu_backend::row_norm {

/// Vectors of each sum in a piece.
inline constexpr std::int64_t piece = 128;

/// What a row is normalised by. Its mean is centre + rest, more exactly than a float could hold it.
struct statistics {
  float centre = 0;
  float rest = 0;
  float inverse = 1;
};

/// totals[r][k] += the sum over row r of what Term adds.
template <template <class, std::size_t> class Term, class V, std::size_t Rows, std::size_t Sums, class... Arguments>
LOCKSTEP_ALWAYS_INLINE void sum_rows(std::int64_t n, std::int64_t stride, double (&totals)[Rows][Sums],
                                     const Arguments&... arguments) {
  constexpr int chains = 4 / static_cast<int>(Sums);
  constexpr std::int64_t step = chains * lanes<V>;
  const Term<V, Rows> term(stride, arguments...);
  std::int64_t i = 0;
  while (i + step <= n) {
    const std::int64_t last = (std::min)(n, i + piece * lanes<V>);
    V sums[std::size_t{chains}][Rows][Sums] = {};
    for (; i + step <= last; i += step)
#pragma GCC unroll 4
      for (int k = 0; k < chains; ++k) term.add(i + k * lanes<V>, sums[k]);
#pragma GCC unroll 2
    for (int r = 0; r < static_cast<int>(Rows); ++r)
#pragma GCC unroll 2
      for (int j = 0; j < static_cast<int>(Sums); ++j) {
        V sum = sums[0][r][j];
#pragma GCC unroll 4
        for (int k = 1; k < chains; ++k) sum += sums[k][r][j];
        totals[r][j] += double{sum_lanes(sum)};
      }
  }
  if (i == n) return;
  V sums[Rows][Sums] = {};
  for (; i + lanes<V> <= n; i += lanes<V>) term.add(i, sums);
  const Term<float, Rows> single(stride, arguments...);
  float others[Rows][Sums] = {};
  for (; i < n; ++i) single.add(i, others);
#pragma GCC unroll 2
  for (int r = 0; r < static_cast<int>(Rows); ++r)
#pragma GCC unroll 2
    for (int j = 0; j < static_cast<int>(Sums); ++j)
      totals[r][j] += double{sum_lanes(sums[r][j])} + double{others[r][j]};
}

/// Distances from a row's first element.
template <class E, std::size_t Rows>
struct distance_term {
  LOCKSTEP_ALWAYS_INLINE distance_term(std::int64_t apart, const float* of) : x(of), stride(apart) {
#pragma GCC unroll 2
    for (int r = 0; r < static_cast<int>(Rows); ++r) broadcast(origin[r], of[r * stride]);
  }
  LOCKSTEP_ALWAYS_INLINE void add(std::int64_t i, E (&sums)[Rows][1]) const {
#pragma GCC unroll 2
    for (int r = 0; r < static_cast<int>(Rows); ++r) {
      E v;
      load(v, x + r * stride + i);
      sums[r][0] += v - origin[r];
    }
  }
  const float* x;
  std::int64_t stride;
  E origin[Rows];
};

/// Distances from a centre, and their squares.
template <class E, std::size_t Rows>
struct square_term {
  LOCKSTEP_ALWAYS_INLINE square_term(std::int64_t apart, const float* of, const statistics (&from)[Rows])
      : x(of), stride(apart) {
#pragma GCC unroll 2
    for (int r = 0; r < static_cast<int>(Rows); ++r) broadcast(centre[r], from[r].centre);
  }
  LOCKSTEP_ALWAYS_INLINE void add(std::int64_t i, E (&sums)[Rows][2]) const {
#pragma GCC unroll 2
    for (int r = 0; r < static_cast<int>(Rows); ++r) {
      E v;
      load(v, x + r * stride + i);
      v -= centre[r];
      sums[r][0] += v;
      sums[r][1] += v * v;
    }
  }
  const float* x;
  std::int64_t stride;
  E centre[Rows];
};

/// In float. The mean is centre + rest, `variance` that around the centre. The same bits wherever it is inlined.
[[nodiscard]] LOCKSTEP_ALWAYS_INLINE statistics finished(float centre, double rest, double variance, double epsilon) {
  const double inverse = 1 / std::sqrt((std::max)(0.0, std::fma(-rest, rest, variance)) + epsilon);
  return {centre, static_cast<float>(rest), static_cast<float>(inverse)};
}
[[nodiscard]] inline statistics rounded(const host::group_statistics& s) {
  const auto centre = static_cast<float>(s.mean);
  return {centre, static_cast<float>(s.mean - double{centre}), static_cast<float>(s.inverse)};
}

/// Measures rows from their first elements on: the mean of equal elements is that element. A second pass finds what the
/// first one has left of the mean.
template <class V, std::size_t Rows>
LOCKSTEP_ALWAYS_INLINE void measure(std::int64_t n, std::int64_t stride, const float* x, bool centred, double epsilon,
                                    statistics (&rows)[Rows]) {
  const double share = 1 / static_cast<double>(n);
  if (centred) {
    double sums[Rows][1] = {};
    sum_rows<distance_term, V>(n, stride, sums, x);
#pragma GCC unroll 2
    for (int r = 0; r < static_cast<int>(Rows); ++r)
      rows[r].centre = static_cast<float>(double{x[r * stride]} + sums[r][0] * share);
  }
  double sums[Rows][2] = {};
  sum_rows<square_term, V>(n, stride, sums, x, rows);
#pragma GCC unroll 2
  for (int r = 0; r < static_cast<int>(Rows); ++r) {
    rows[r] = finished(rows[r].centre, centred ? sums[r][0] * share : 0.0, sums[r][1] * share, epsilon);
    // A square was too large for float, or an element is NaN.
    if (!std::isfinite(sums[r][1]) || !std::isfinite(rows[r].inverse))
      rows[r] =
          rounded(host::measure_group({.layout = {.channels = n}, .centred = centred}, epsilon, 0, x + r * stride));
  }
}

}  // namespace lockstep::cpu_backend::row_norm
