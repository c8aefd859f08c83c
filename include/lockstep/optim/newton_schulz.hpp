// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <lockstep/core/config.hpp>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdint>

#include <lockstep/backend/element_math.hpp>

namespace lockstep::detail {

/// The iteration that brings all singular values of a matrix near 1: X = X / max(||X||, eps), where ||X|| is the root
/// of the sum of squares, and then `iterations` times A = X X^T, X = a X + (b A + c A A) X.
struct newton_schulz {
  std::array<double, 3> coefficients{3.4445, -4.7750, 2.0315};  ///< a, b, c
  double eps = 1e-7;
  int iterations = 5;
};

/// p = keep * p + take * g.
template <class T>
struct combine_rule {
  T keep, take;

  static constexpr bool takes_vectors = true;

  template <class V>
  LOCKSTEP_ALWAYS_INLINE constexpr void operator()(const V& g, V& p) const {
    LOCKSTEP_UNCONTRACTED
    p *= keep;
    round_first(p);
    p += take * g;
  }
};

/// Elements of `scratch` that `orthogonalise` needs for an m x n matrix.
[[nodiscard]] constexpr std::int64_t orthogonalise_scratch(std::int64_t m, std::int64_t n) { return 2 * m * m + m * n; }

/// Runs the iteration on x, an m x n row-major matrix with m <= n.
template <class B>
void orthogonalise(typename B::context& c, std::int64_t m, std::int64_t n, typename B::value_type* x,
                   typename B::value_type* scratch, const newton_schulz& how) {
  using value = typename B::value_type;
  using rule = combine_rule<value>;
  value* const gram = scratch;
  value* const square = gram + m * m;
  value* const product = square + m * m;
  const auto combine = [&](std::int64_t size, double keep, value* p, double take, const value* g) {
    const std::array<const value*, 1> from{g};
    B::template reduce_and_update<1, 0>(c, 0, size, from, p, std::array<value*, 0>{},
                                        rule{static_cast<value>(keep), static_cast<value>(take)});
  };
  double squares = 0;
  B::square_sums(c, m * n, m * n, x, &squares);
  // The old value is read although it counts for nothing: x itself stands in for the gradient.
  combine(m * n, 0, x, 1 / (std::max)(std::sqrt(squares), how.eps), x);
  const auto [a, b, cubed] = how.coefficients;
  for (int i = 0; i < how.iterations; ++i) {
    B::multiply(c, m, m, n, x, x, true, gram);
    B::multiply(c, m, m, m, gram, gram, false, square);
    combine(m * m, b, gram, cubed, square);
    B::multiply(c, m, n, m, gram, x, false, product);
    combine(m * n, a, x, 1, product);
  }
}

}  // namespace lockstep::detail
