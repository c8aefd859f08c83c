// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <tuple>
#include <type_traits>

#include <lockstep/backend/capabilities.hpp>

#include "backend/functions.hpp"
#include "backend/support.hpp"

/// \file
/// `map` and `map_backward` against formulas in double precision, for the function of every activation.

namespace {

using namespace lockstep_test;

/// What may be lost where results are below the smallest normal number, and then multiplied. Processors that round to
/// bfloat16 may take such numbers for zero.
template <class B>
inline constexpr double smallest = sizeof(typename B::activation_type) == 2 ? 0x1p-126 : 0x1p-142;

/// Fails unless each element is within `relative` of what is wanted, more where an exponential's argument was rounded.
template <class B, class Case, class Argument>
void check_function(const doubles& got, const doubles& want, const doubles& argument_of, double least,
                    const Argument& argument) {
  REQUIRE(got.size() == want.size());
  double worst = 0;
  std::size_t at = 0;
  for (std::size_t i = 0; i < got.size(); ++i) {
    const double roundings = 7 + 2 * std::abs(argument(argument_of[i]));
    const double relative =
        rounding<B> + (std::isfinite(roundings) ? roundings : 0) *
                          static_cast<double>(std::numeric_limits<typename B::value_type>::epsilon());
    const double excess = excess_of(got[i], want[i], relative, nan_rule::equals_nan) - smallest<B> - least;
    if (excess > worst) {
      worst = excess;
      at = i;
    }
  }
  INFO("element " << at << ": of " << argument_of[at] << " got " << got[at] << ", want " << want[at]);
  CHECK(worst == 0);
}

template <class B, class Case>
void check_case(typename B::context& c) {
  using value = typename B::value_type;
  using activation = typename B::activation_type;
  constexpr auto f = Case::source::template of<value>();
  constexpr bool reads_output = decltype(f)::derivative_reads_output;
  CAPTURE(B::name, Case::name);
  const doubles x = held<B>(numbers_of_every_size());
  const auto n = static_cast<std::int64_t>(x.size());
  doubles want = x;
  for (double& v : want) v = Case::value(v);

  array<B> px(x);
  array<B> py(filled(n, poison));
  B::map(c, n, f, static_cast<const activation*>(px.data()), py.data());
  const doubles y = py.read();
  check_function<B, Case>(y, want, x, 0, [](double v) { return Case::argument(v); });
  check_close(px.read(), x, 0);
  B::map(c, n, f, static_cast<const activation*>(px.data()), px.data());
  check_close(px.read(), y, 0);

  // The other operand is none: it may be gone when backward runs.
  const doubles& from = reads_output ? y : x;
  array<B> pfrom(from);
  const activation* const read = pfrom.data();
  const activation* const no = nullptr;
  const doubles dy = held<B>(uniform(n, 3));
  doubles wanted(dy.size());
  for (std::size_t i = 0; i < wanted.size(); ++i) wanted[i] = dy[i] * Case::derivative(from[i]);
  array<B> pdy(dy);
  array<B> pdx(filled(n, poison));
  B::map_backward(c, n, f, reads_output ? no : read, reads_output ? read : no,
                  static_cast<const activation*>(pdy.data()), pdx.data());
  const doubles dx = pdx.read();
  // Derivatives are sums: errors count beside their largest value.
  constexpr double least = 4 * static_cast<double>(std::numeric_limits<value>::epsilon());
  check_function<B, Case>(dx, wanted, from, least, [](double) { return 0.0; });
  check_close(pfrom.read(), from, 0);
  check_close(pdy.read(), dy, 0);
  B::map_backward(c, n, f, reads_output ? no : read, reads_output ? read : no,
                  static_cast<const activation*>(pdy.data()), pdy.data());
  check_close(pdy.read(), dx, 0);

  // Wherever a range begins and ends, an element gets the same bits.
  const auto first = x.size() - 200;
  for (const std::int64_t length : {0, 1, 7, 8, 15, 16, 17, 31, 33, 100})
    for (const std::int64_t shift : {0, 3, 5}) {
      CAPTURE(length, shift);
      const auto begin = static_cast<std::ptrdiff_t>(first) + shift;
      const auto part = [&](const doubles& all) { return doubles(all.begin() + begin, all.begin() + begin + length); };
      array<B> in(part(x), shift);
      array<B> out(filled(length, poison), 5 - shift);
      B::map(c, length, f, static_cast<const activation*>(in.data()), out.data());
      check_close(out.read(), part(y), 0);
      array<B> part_from(part(from), shift);
      array<B> gradient(part(dy), 5 - shift);
      B::map_backward(c, length, f, reads_output ? no : part_from.data(), reads_output ? part_from.data() : no,
                      static_cast<const activation*>(gradient.data()), gradient.data());
      check_close(gradient.read(), part(dx), 0);
    }
}

template <class B, class... Case>
void check_cases(std::type_identity<std::tuple<Case...>>) {
  entered<B> e;
  (check_case<B, Case>(e.context), ...);
}

}  // namespace

TEMPLATE_LIST_TEST_CASE("functions of activations and their derivatives", "[map]", pass_backends) {
  STATIC_REQUIRE(ls::maps_elements<TestType>);
  check_cases<TestType>(std::type_identity<function_cases>{});
}

TEST_CASE("the definition of functions of activations", "[map]") {
  check_cases<oracle>(std::type_identity<function_cases>{});
}
