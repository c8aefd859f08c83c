// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include <cstddef>
#include <cstdint>
#include <tuple>
#include <utility>

#include <lockstep/backend/capabilities.hpp>
#include <lockstep/backend/cpu/cpu.hpp>
#include <lockstep/backend/reference/reference.hpp>
#include <lockstep/optim/newton_schulz.hpp>

#include "backend/support.hpp"

namespace {

using namespace lockstep_test;

using both_backends = std::tuple<ls::cpu, ls::reference<double>>;

template <class B>
using values = array<B, typename B::value_type>;

template <class B>
constexpr double epsilon = sizeof(typename B::value_type) == 4 ? 0x1p-24 : 0x1p-53;

/// y[i][j] = sum of a[i][l] b[l][j], or of a[i][l] b[j][l].
doubles product(std::int64_t m, std::int64_t n, std::int64_t k, const doubles& a, const doubles& b, bool transposed) {
  doubles y;
  for (std::int64_t i = 0; i < m; ++i)
    for (std::int64_t j = 0; j < n; ++j) {
      double sum = 0;
      for (std::int64_t l = 0; l < k; ++l)
        sum += a[static_cast<std::size_t>(i * k + l)] * b[static_cast<std::size_t>(transposed ? j * k + l : l * n + j)];
      y.push_back(sum);
    }
  return y;
}

}  // namespace

TEMPLATE_LIST_TEST_CASE("matrices are multiplied", "[product]", both_backends) {
  using B = TestType;
  static_assert(ls::multiplies_matrices<B>);
  auto& c = shared_context<B>();
  struct extents {
    std::int64_t m, n, k;
  };
  for (const extents e : {extents{1, 1, 1}, extents{3, 5, 7}, extents{16, 16, 16}, extents{33, 1, 20},
                          extents{1, 70, 9}, extents{65, 48, 130}})
    for (const bool transposed : {false, true}) {
      CAPTURE(B::name, e.m, e.n, e.k, transposed);
      const auto held = [](doubles all) {
        for (double& v : all) v = static_cast<double>(static_cast<float>(v));
        return all;
      };
      const doubles a = held(uniform(e.m * e.k, 1));
      const doubles b = held(uniform(e.k * e.n, 2));
      values<B> pa(a, 1), pb(b, 3), y(filled(e.m * e.n, poison), 1);
      B::multiply(c, e.m, e.n, e.k, pa.data(), pb.data(), transposed, y.data());
      check_close(y.read(), product(e.m, e.n, e.k, a, b, transposed), static_cast<double>(e.k) * epsilon<B>);
    }
}

TEMPLATE_LIST_TEST_CASE("the iteration of Newton and Schulz brings singular values near one", "[product]",
                        both_backends) {
  using B = TestType;
  auto& c = shared_context<B>();
  for (const auto& [m, n] : {std::pair<std::int64_t, std::int64_t>{1, 1}, {4, 4}, {5, 30}, {24, 64}}) {
    CAPTURE(B::name, m, n);
    values<B> x(uniform(m * n, 5));
    values<B> scratch(filled(ls::detail::orthogonalise_scratch(m, n), 0));
    // Coefficients that converge: those of Muon leave singular values between 0.7 and 1.2.
    ls::detail::orthogonalise<B>(c, m, n, x.data(), scratch.data(),
                                 {.coefficients = {1.875, -1.25, 0.375}, .iterations = 40});
    const doubles made = x.read();
    doubles one = filled(m * m, 0);
    for (std::int64_t i = 0; i < m; ++i) one[static_cast<std::size_t>(i * m + i)] = 1;
    check_close(product(m, m, n, made, made, true), one, 64 * static_cast<double>(n) * epsilon<B>);
  }
  // Zero stays zero.
  values<B> zero(filled(6, 0));
  values<B> scratch(filled(ls::detail::orthogonalise_scratch(2, 3), 0));
  ls::detail::orthogonalise<B>(c, 2, 3, zero.data(), scratch.data(), {});
  check_close(zero.read(), filled(6, 0), 0);
}
