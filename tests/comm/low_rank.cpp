// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include <lockstep/comm/low_rank.hpp>

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <vector>

#include "comm/ranks.hpp"
#include "support/catch.hpp"
#include "support/difference.hpp"

namespace {

namespace ls = lockstep;
using comm_test::draw;
using lockstep_test::difference_of;
using lockstep_test::largest_difference;

using floats = std::vector<float>;

floats drawn(std::uint64_t stream, std::int64_t n) {
  floats all(static_cast<std::size_t>(n));
  for (std::size_t i = 0; i < all.size(); ++i) all[i] = draw(7, stream, i);
  return all;
}

double element(const floats& a, std::int64_t i) { return double{a[static_cast<std::size_t>(i)]}; }

/// The product of columns j and k of `columns`, of n elements each.
double product(const floats& columns, std::int64_t n, std::int64_t j, std::int64_t k) {
  double sum = 0;
  for (std::int64_t i = 0; i < n; ++i) sum += element(columns, j * n + i) * element(columns, k * n + i);
  return sum;
}

/// How far columns are from being orthogonal and of length 1.
double worst_product(const floats& columns, std::int64_t n, int count) {
  double worst = 0;
  for (int j = 0; j < count; ++j)
    for (int k = 0; k <= j; ++k) worst = std::max(worst, difference_of(product(columns, n, j, k), j == k ? 1 : 0));
  return worst;
}

}  // namespace

TEST_CASE("columns are made orthonormal, however nearly they depend on each other", "[comm][low_rank]") {
  constexpr int rank = 4;
  for (const std::int64_t n : {5, 16, 33, 1000})
    for (const float apart : {1.F, 0.5F, 1e-2F, 1e-4F, 1e-5F}) {
      CAPTURE(n, apart);
      // Each column is the first one, and a little of its own.
      floats columns = drawn(1, n * rank);
      const auto size = static_cast<std::size_t>(n);
      for (std::size_t i = size; i < columns.size(); ++i) columns[i] = columns[i % size] + apart * columns[i];
      for (int k = 0; k < rank; ++k) CHECK(ls::detail::orthonormalize_column(n, k, columns.data()));
      CHECK(worst_product(columns, n, rank) < 1e-6);
    }
}

TEST_CASE("a column of which nothing is left becomes zeros, and a NaN stays", "[comm][low_rank]") {
  constexpr std::int64_t n = 33;
  floats columns = drawn(2, 3 * n);
  for (std::size_t i = 0; i < n; ++i) columns[n + i] = -3.F * columns[i];
  REQUIRE(ls::detail::orthonormalize_column(n, 0, columns.data()));
  CHECK_FALSE(ls::detail::orthonormalize_column(n, 1, columns.data()));
  CHECK(floats(columns.begin() + n, columns.begin() + 2 * n) == floats(n, 0.F));
  REQUIRE(ls::detail::orthonormalize_column(n, 2, columns.data()));  // zeros are no obstacle
  CHECK(std::abs(product(columns, n, 0, 2)) < 1e-6);

  // Both whatever the columns' size.
  for (const float size : {1e-15F, 1e-6F, 1e15F}) {
    CAPTURE(size);
    floats scaled = drawn(9, 3 * n);
    for (std::size_t i = 0; i < n; ++i) scaled[2 * n + i] = scaled[i] - scaled[n + i];
    for (float& v : scaled) v *= size;
    CHECK(ls::detail::orthonormalize_column(n, 0, scaled.data()));
    CHECK(ls::detail::orthonormalize_column(n, 1, scaled.data()));
    CHECK(worst_product(scaled, n, 2) < 1e-6);
    CHECK_FALSE(ls::detail::orthonormalize_column(n, 2, scaled.data()));
  }

  floats zeros(n, 0.F);
  CHECK_FALSE(ls::detail::orthonormalize_column(n, 0, zeros.data()));
  CHECK(zeros == floats(n, 0.F));

  floats spoilt = drawn(3, n);
  spoilt[n - 1] = std::numeric_limits<float>::quiet_NaN();
  CHECK(ls::detail::orthonormalize_column(n, 0, spoilt.data()));
  CHECK_FALSE(ls::detail::all_finite(n, spoilt.data()));
}

TEST_CASE("products of matrices are those of the definition", "[comm][low_rank]") {
  constexpr double allowed = 1e-5;
  for (const std::int64_t rows : {1, 7, 40})
    for (const std::int64_t columns : {1, 15, 16, 33})
      for (const int rank : {1, 3}) {
        CAPTURE(rows, columns, rank);
        const floats m = drawn(4, rows * columns);
        const floats p = drawn(5, rows * rank);
        const floats q = drawn(6, columns * rank);
        std::vector<double> mq, mtp, sum;
        for (int k = 0; k < rank; ++k) {
          for (std::int64_t i = 0; i < rows; ++i) {
            mq.push_back(0);
            for (std::int64_t j = 0; j < columns; ++j)
              mq.back() += element(m, i * columns + j) * element(q, k * columns + j);
          }
          for (std::int64_t j = 0; j < columns; ++j) {
            mtp.push_back(0);
            for (std::int64_t i = 0; i < rows; ++i)
              mtp.back() += element(m, i * columns + j) * element(p, k * rows + i);
          }
        }
        for (std::int64_t i = 0; i < rows; ++i)
          for (std::int64_t j = 0; j < columns; ++j) {
            sum.push_back(element(m, i * columns + j));
            for (int k = 0; k < rank; ++k) sum.back() -= element(p, k * rows + i) * element(q, k * columns + j);
          }
        floats got_p(p.size(), 99.F);
        ls::detail::multiply(rows, columns, rank, m.data(), q.data(), got_p.data());
        CHECK(largest_difference(got_p, mq) < allowed);
        floats got_q(q.size(), 99.F);
        ls::detail::multiply_transposed(rows, columns, rank, m.data(), p.data(), got_q.data());
        CHECK(largest_difference(got_q, mtp) < allowed);
        floats got_m = m;
        ls::detail::add_product(rows, columns, rank, -1, p.data(), q.data(), got_m.data());
        CHECK(largest_difference(got_m, sum) < allowed);
      }
}

TEST_CASE("one element of many that is not finite is seen", "[comm][low_rank]") {
  floats values = drawn(8, 40);
  CHECK(ls::detail::all_finite(40, values.data()));
  for (std::size_t i = 0; i < values.size(); ++i)
    for (const float bad : {std::numeric_limits<float>::quiet_NaN(), -std::numeric_limits<float>::infinity()}) {
      floats spoilt = values;
      spoilt[i] = bad;
      CHECK_FALSE(ls::detail::all_finite(40, spoilt.data()));
    }
}
