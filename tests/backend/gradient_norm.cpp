// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include <cmath>
#include <cstdint>

#include "backend/support.hpp"

namespace {

using namespace lockstep_test;

template <class B>
ls::update_terms norm_of(typename B::context& c, const doubles& squares, double max_norm) {
  array<B, double> sums(squares);
  stored<B, ls::update_terms> terms({.norm = -1, .scale = -1, .finite = -1});
  B::gradient_norm(c, sums.size(), sums.data(), max_norm, terms.get());
  const ls::update_terms got = terms.read();
  check_close(sums.read(), squares, 0);
  return got;
}

}  // namespace

TEMPLATE_LIST_TEST_CASE("gradient_norm is the root of the sum of all blocks", "[gradient_norm]", backends) {
  using B = TestType;
  entered<B> e;
  CHECK(norm_of<B>(e.context, {9, 16}, infinity).norm == 5);
  CHECK(norm_of<B>(e.context, {4}, infinity).norm == 2);
  CHECK(norm_of<B>(e.context, {}, infinity).norm == 0);
  for (const std::int64_t blocks : {1, 2, 31, 33, 257, 1000, 5000}) {
    const doubles squares = uniform(blocks, 1, 0, 4);
    long double total = 0;
    for (const double s : squares) total += s;
    const ls::update_terms got = norm_of<B>(e.context, squares, infinity);
    CAPTURE(B::name, blocks);
    CHECK(got.norm == Approx(static_cast<double>(std::sqrt(total))).epsilon(tolerance<double>(blocks)));
    CHECK(got.scale == 1);
    CHECK(got.finite == 1);
    CHECK(norm_of<B>(e.context, squares, infinity).norm == got.norm);
  }
}

TEMPLATE_LIST_TEST_CASE("gradient_norm scales what is longer than the greatest norm", "[gradient_norm]", backends) {
  using B = TestType;
  entered<B> e;
  for (const double max_norm : {10.0, 5.0, 4.999, 1.0, 0.125, 0.0}) {
    CAPTURE(B::name, max_norm);
    const ls::update_terms got = norm_of<B>(e.context, {9, 0, 16}, max_norm);
    CHECK(got.norm == 5);
    CHECK(got.finite == 1);
    if (max_norm >= 5)
      CHECK(got.scale == 1);
    else  // torch.nn.utils.clip_grad_norm_
      CHECK(got.scale == Approx(max_norm / (5 + 1e-6)).epsilon(1e-14).margin(0));
  }
  // Hardly longer: the small number in the divisor shortens it all the same, and never lengthens.
  CHECK(norm_of<B>(e.context, {25}, std::nextafter(5.0, 0.0)).scale == Approx(5 / (5 + 1e-6)).epsilon(1e-14));
  CHECK(norm_of<B>(e.context, {0, 0}, 1).scale == 1);
  CHECK(norm_of<B>(e.context, {0, 0}, 1).finite == 1);
}

TEMPLATE_LIST_TEST_CASE("gradient_norm tells of what is not finite", "[gradient_norm]", backends) {
  using B = TestType;
  entered<B> e;
  for (const double max_norm : {infinity, 1.0}) {
    CAPTURE(B::name, max_norm);
    const ls::update_terms nan = norm_of<B>(e.context, {1, poison, 2}, max_norm);
    CHECK(std::isnan(nan.norm));
    CHECK(nan.finite == 0);
    CHECK(std::isnan(nan.scale));
    const ls::update_terms infinite = norm_of<B>(e.context, {1, 2, infinity}, max_norm);
    CHECK(infinite.norm == infinity);
    CHECK(infinite.finite == 0);
    const ls::update_terms overflown = norm_of<B>(e.context, {1.5e308, 1.5e308}, max_norm);
    CHECK(overflown.norm == infinity);
    CHECK(overflown.finite == 0);
    for (const ls::update_terms& longest : {infinite, overflown}) CHECK(longest.scale == (max_norm < infinity ? 0 : 1));
  }
}
