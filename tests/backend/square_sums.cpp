// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>

#include "backend/support.hpp"

namespace {

using namespace lockstep_test;

constexpr std::int64_t gradient_block = 4096;

std::int64_t blocks_of(std::int64_t n, std::int64_t block) { return (n + block - 1) / block; }

template <class B>
doubles square_sums(typename B::context& c, std::int64_t n, std::int64_t block, const typename B::value_type* x) {
  array<B, double> sums(filled(n == 0 ? 0 : blocks_of(n, block), poison));
  B::square_sums(c, n, block, x, sums.data());
  return sums.read();
}

/// The sums in extended precision.
doubles exact_sums(const doubles& x, std::int64_t block) {
  doubles sums;
  for (std::size_t first = 0; first < x.size(); first += static_cast<std::size_t>(block)) {
    long double sum = 0;
    for (std::size_t i = first; i < std::min(x.size(), first + static_cast<std::size_t>(block)); ++i)
      sum += static_cast<long double>(x[i]) * x[i];
    sums.push_back(static_cast<double>(sum));
  }
  return sums;
}

}  // namespace

TEMPLATE_LIST_TEST_CASE("square_sums sums each block in double precision", "[square_sums]", backends) {
  using B = TestType;
  entered<B> e;
  for (const std::int64_t n : {1, 7, 255, 1000, 4095, 4096, 4097, 8192, 12290, 70001})
    for (const std::int64_t block : {gradient_block, n}) {
      CAPTURE(B::name, n, block);
      const doubles x = uniform(n, 1);
      array<B> px(x);
      const auto terms = static_cast<double>(std::min(n, block));
      check_close(square_sums<B>(e.context, n, block, px.data()), exact_sums(x, block),
                  tolerance<double>(std::min(n, block)) * terms);
      check_close(px.read(), x, 0);
    }
}

TEMPLATE_LIST_TEST_CASE("square_sums of nothing writes nothing", "[square_sums]", backends) {
  entered<TestType> e;
  array<TestType> x(filled(0, 0));
  CHECK(square_sums<TestType>(e.context, 0, gradient_block, x.data()).empty());
}

TEMPLATE_LIST_TEST_CASE("square_sums squares what a float's square would not hold", "[square_sums]", backends) {
  using B = TestType;
  entered<B> e;
  for (const double v : {1e30, 1e-30}) {
    const auto own = static_cast<double>(static_cast<typename B::value_type>(v));
    array<B> x(filled(1000, v));
    CHECK(square_sums<B>(e.context, 1000, 1000, x.data()).front() == Approx(1000 * own * own).epsilon(1e-12));
  }
}

TEMPLATE_LIST_TEST_CASE("square_sums shows what is not finite in its block alone", "[square_sums]", backends) {
  using B = TestType;
  entered<B> e;
  doubles x = uniform(4 * gradient_block, 1);
  x[0] = poison;
  x[2 * gradient_block - 1] = -infinity;
  x[3 * gradient_block + 77] = infinity;
  x[3 * gradient_block + 78] = poison;
  array<B> px(x);
  const doubles sums = square_sums<B>(e.context, 4 * gradient_block, gradient_block, px.data());
  CHECK(std::isnan(sums[0]));
  CHECK(sums[1] == infinity);
  CHECK(std::isfinite(sums[2]));
  CHECK(std::isnan(sums[3]));
}

TEMPLATE_LIST_TEST_CASE("a block has the same bits wherever its range is cut, and again", "[square_sums]", backends) {
  using B = TestType;
  entered<B> e;
  const std::int64_t n = 3 * gradient_block + 1001;
  array<B> x(uniform(n, 1));
  const doubles whole = square_sums<B>(e.context, n, gradient_block, x.data());
  CHECK(square_sums<B>(e.context, n, gradient_block, x.data()) == whole);
  doubles pieces;
  for (std::int64_t first = 0; first < n; first += gradient_block)
    pieces.push_back(
        square_sums<B>(e.context, std::min(gradient_block, n - first), gradient_block, x.data() + first).front());
  CHECK(pieces == whole);
}
