// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

#include "backend/support.hpp"

namespace {

using namespace lockstep_test;

constexpr std::int64_t size = 1100;

/// Elements first..last of N gradients, summed and applied by rules that keep 0, 1 and 2 states; everything outside
/// the range stays as it was.
template <class B, std::size_t N>
void check_reduce(typename B::context& c, std::int64_t first, std::int64_t last) {
  using value = typename B::value_type;
  CAPTURE(B::name, N, first, last);
  std::vector<std::unique_ptr<array<B>>> gradients;
  std::array<const value*, N> pointers{};
  doubles sum(static_cast<std::size_t>(size));
  for (std::size_t k = 0; k < N; ++k) {
    const doubles g = uniform(size, 10 + k);
    gradients.push_back(std::make_unique<array<B>>(g, static_cast<std::int64_t>(k)));
    pointers[k] = gradients.back()->data();
    for (std::size_t i = 0; i < sum.size(); ++i) sum[i] += g[i];
  }
  const doubles p = uniform(size, 1);
  const doubles s0 = uniform(size, 2);
  const doubles s1 = uniform(size, 3);
  const auto expect = [&](const doubles& before, const auto& after) {
    doubles want = before;
    for (std::int64_t i = first; i < last; ++i) want[static_cast<std::size_t>(i)] = after(static_cast<std::size_t>(i));
    return want;
  };
  const double allowed = tolerance<value>(static_cast<std::int64_t>(N)) * 2;

  {
    array<B> parameters(p);
    B::reduce_and_update(c, first, last, pointers, parameters.data(), std::array<value*, 0>{},
                         [](value g, value& w) { w -= value{0.5} * g; });
    check_close(parameters.read(), expect(p, [&](std::size_t i) { return p[i] - 0.5 * sum[i]; }), allowed);
  }
  {
    array<B> parameters(p, 3);
    array<B> state(s0, 1);
    B::reduce_and_update(c, first, last, pointers, parameters.data(), std::array<value*, 1>{state.data()},
                         [](value g, value& w, value& v) {
                           v = value{0.5} * v + g;
                           w -= value{0.25} * v;
                         });
    check_close(state.read(), expect(s0, [&](std::size_t i) { return 0.5 * s0[i] + sum[i]; }), allowed);
    check_close(parameters.read(), expect(p, [&](std::size_t i) { return p[i] - 0.25 * (0.5 * s0[i] + sum[i]); }),
                allowed);
  }
  {
    array<B> parameters(p);
    array<B> one(s0);
    array<B> two(s1);
    B::reduce_and_update(c, first, last, pointers, parameters.data(), std::array<value*, 2>{one.data(), two.data()},
                         [](value g, value& w, value& a, value& b) {
                           a += g;
                           b -= g;
                           w = a + value{2} * b;
                         });
    check_close(one.read(), expect(s0, [&](std::size_t i) { return s0[i] + sum[i]; }), allowed);
    check_close(two.read(), expect(s1, [&](std::size_t i) { return s1[i] - sum[i]; }), allowed);
    check_close(parameters.read(), expect(p, [&](std::size_t i) { return s0[i] + 2 * s1[i] - sum[i]; }), 4 * allowed);
  }
  for (std::size_t k = 0; k < N; ++k) check_close(gradients[k]->read(), uniform(size, 10 + k), 0);
}

template <class B, std::size_t... N>
void check_all() {
  entered<B> e;
  constexpr std::array<std::array<std::int64_t, 2>, 7> ranges{
      {{0, size}, {0, 0}, {0, 1}, {63, 65}, {17, 273}, {100, 1000}, {256, 1024}}};
  for (const auto& [first, last] : ranges) (check_reduce<B, N>(e.context, first, last), ...);
}

}  // namespace

TEMPLATE_LIST_TEST_CASE("reduce_and_update sums the gradients of all replicas and applies the rule once", "[reduce]",
                        backends) {
  check_all<TestType, 1, 2, 3, 8>();
}

TEMPLATE_LIST_TEST_CASE("the sum of gradients is taken in rank order", "[reduce]", backends) {
  using B = TestType;
  using value = typename B::value_type;
  entered<B> e;
  // In any other order the 1 survives or is lost elsewhere.
  const double big = 1 / static_cast<double>(std::numeric_limits<value>::epsilon()) * 4;
  for (const std::int64_t n : {1, 65}) {
    array<B> a(filled(n, big));
    array<B> b(filled(n, 1));
    array<B> c(filled(n, -big));
    array<B> p(filled(n, 0));
    const auto take = [](value g, value& w) { w = g; };
    B::reduce_and_update(e.context, 0, n, std::array<const value*, 3>{a.data(), b.data(), c.data()}, p.data(),
                         std::array<value*, 0>{}, take);
    check_close(p.read(), filled(n, 0), 0);
    B::reduce_and_update(e.context, 0, n, std::array<const value*, 3>{a.data(), c.data(), b.data()}, p.data(),
                         std::array<value*, 0>{}, take);
    check_close(p.read(), filled(n, 1), 0);
  }
}
