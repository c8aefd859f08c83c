// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <memory>
#include <type_traits>
#include <vector>

#include <lockstep/backend/rule.hpp>
#include <lockstep/core/config.hpp>

#include "backend/support.hpp"

namespace {

using namespace lockstep_test;

constexpr std::int64_t size = 1100;

/// p -= rate * g.
template <class T>
struct descent_rule {
  T rate;

  LOCKSTEP_HOST_DEVICE void operator()(T g, T& p) const { p -= rate * g; }
};

/// v = keep * v + g;  p -= v / 4.
template <class T>
struct velocity_rule {
  T keep;

  LOCKSTEP_HOST_DEVICE void operator()(T g, T& p, T& v) const {
    v = keep * v + g;
    p -= T{0.25} * v;
  }
};

/// a += g;  b -= g;  p = a + 2 b.
struct two_state_rule {
  template <class T>
  LOCKSTEP_HOST_DEVICE void operator()(T g, T& p, T& a, T& b) const {
    a += g;
    b -= g;
    p = a + T{2} * b;
  }
};

/// a = 2 a + g;  b = the root of b;  c = the larger of c and g;  p += the sign of g - b, within 1 / 2.
template <class T>
struct three_state_rule {
  T two;

  static constexpr bool takes_vectors = true;

  template <class V>
  LOCKSTEP_ALWAYS_INLINE constexpr void operator()(const V& g, V& p, V& a, V& b, V& c) const {
    a = two * a + g;
    ls::detail::take_root(b);
    ls::detail::take_larger(c, g);
    V step = g;
    ls::detail::take_sign(step);
    step -= b;
    ls::detail::clip(step, T{0.5});
    p += step;
  }
};

/// N gradients in the backend's memory, each off the alignment in a way of its own.
template <class B, std::size_t N>
class gradient_set {
 public:
  using value = typename B::value_type;

  gradient_set() {
    for (std::size_t k = 0; k < N; ++k)
      arrays_.push_back(std::make_unique<array<B>>(uniform(size, 10 + k), static_cast<std::int64_t>(k)));
  }

  [[nodiscard]] std::array<const value*, N> pointers() {
    std::array<const value*, N> all{};
    for (std::size_t k = 0; k < N; ++k) all[k] = arrays_[k]->data();
    return all;
  }
  [[nodiscard]] static doubles sum() {
    doubles all(static_cast<std::size_t>(size));
    for (std::size_t k = 0; k < N; ++k) {
      const doubles g = uniform(size, 10 + k);
      for (std::size_t i = 0; i < all.size(); ++i) all[i] += g[i];
    }
    return all;
  }
  void check_unchanged() {
    for (std::size_t k = 0; k < N; ++k) check_close(arrays_[k]->read(), uniform(size, 10 + k), 0);
  }

 private:
  std::vector<std::unique_ptr<array<B>>> arrays_;
};

/// `before` with elements [first, last) replaced by after(index).
template <class After>
doubles replaced(const doubles& before, std::int64_t first, std::int64_t last, const After& after) {
  doubles all = before;
  for (std::int64_t i = first; i < last; ++i) all[static_cast<std::size_t>(i)] = after(static_cast<std::size_t>(i));
  return all;
}

/// Elements first..last of N gradients, summed and applied by rules that keep 0, 1 and 2 states; everything outside
/// the range stays as it was.
template <class B, std::size_t N>
void check_reduce(typename B::context& c, std::int64_t first, std::int64_t last) {
  using value = typename B::value_type;
  CAPTURE(B::name, N, first, last);
  gradient_set<B, N> gradients;
  const auto pointers = gradients.pointers();
  const doubles sum = gradients.sum();
  const doubles p = uniform(size, 1);
  const doubles s0 = uniform(size, 2);
  const doubles s1 = uniform(size, 3);
  const double allowed = tolerance<value>(static_cast<std::int64_t>(N)) * 2;

  {
    array<B> parameters(p);
    B::reduce_and_update(c, first, last, pointers, parameters.data(), std::array<value*, 0>{},
                         descent_rule<value>{value{0.5}});
    check_close(parameters.read(), replaced(p, first, last, [&](std::size_t i) { return p[i] - 0.5 * sum[i]; }),
                allowed);
  }
  {
    array<B> parameters(p, 3);
    array<B> state(s0, 1);
    B::reduce_and_update(c, first, last, pointers, parameters.data(), std::array<value*, 1>{state.data()},
                         velocity_rule<value>{value{0.5}});
    const auto velocity = [&](std::size_t i) { return 0.5 * s0[i] + sum[i]; };
    check_close(state.read(), replaced(s0, first, last, velocity), allowed);
    check_close(parameters.read(), replaced(p, first, last, [&](std::size_t i) { return p[i] - 0.25 * velocity(i); }),
                allowed);
  }
  {
    array<B> parameters(p);
    array<B> one(s0);
    array<B> two(s1);
    B::reduce_and_update(c, first, last, pointers, parameters.data(), std::array<value*, 2>{one.data(), two.data()},
                         two_state_rule{});
    check_close(one.read(), replaced(s0, first, last, [&](std::size_t i) { return s0[i] + sum[i]; }), allowed);
    check_close(two.read(), replaced(s1, first, last, [&](std::size_t i) { return s1[i] - sum[i]; }), allowed);
    check_close(parameters.read(), replaced(p, first, last, [&](std::size_t i) { return s0[i] + 2 * s1[i] - sum[i]; }),
                4 * allowed);
  }
  gradients.check_unchanged();
}

/// The same by a rule that takes vectors and keeps three states.
template <class B, std::size_t N>
void check_vectors(typename B::context& c, std::int64_t first, std::int64_t last) {
  using value = typename B::value_type;
  CAPTURE(B::name, N, first, last);
  gradient_set<B, N> gradients;
  const doubles sum = gradients.sum();
  const doubles p = uniform(size, 1);
  const doubles s0 = uniform(size, 2);
  doubles s1 = uniform(size, 3);
  for (double& s : s1) s = std::abs(s);
  const doubles s2 = uniform(size, 4);
  const double allowed = tolerance<value>(static_cast<std::int64_t>(N)) * 4;
  array<B> parameters(p, 3);
  array<B> a(s0, 1);
  array<B> b(s1, 2);
  array<B> most(s2);
  B::reduce_and_update(c, first, last, gradients.pointers(), parameters.data(),
                       std::array<value*, 3>{a.data(), b.data(), most.data()}, three_state_rule<value>{value{2}});
  check_close(a.read(), replaced(s0, first, last, [&](std::size_t i) { return 2 * s0[i] + sum[i]; }), allowed);
  check_close(b.read(), replaced(s1, first, last, [&](std::size_t i) { return std::sqrt(s1[i]); }), allowed);
  check_close(most.read(), replaced(s2, first, last, [&](std::size_t i) { return std::max(s2[i], sum[i]); }), allowed);
  const auto step = [&](std::size_t i) {
    return std::clamp((sum[i] > 0 ? 1.0 : sum[i] < 0 ? -1.0 : 0.0) - std::sqrt(s1[i]), -0.5, 0.5);
  };
  check_close(parameters.read(), replaced(p, first, last, [&](std::size_t i) { return p[i] + step(i); }), allowed);
}

template <class B, std::size_t... N>
void check_all() {
  entered<B> e;
  constexpr std::array<std::array<std::int64_t, 2>, 7> ranges{
      {{0, size}, {0, 0}, {0, 1}, {63, 65}, {17, 273}, {100, 1000}, {256, 1024}}};
  for (const auto& [first, last] : ranges) {
    (check_reduce<B, N>(e.context, first, last), ...);
    (check_vectors<B, N>(e.context, first, last), ...);
  }
}

}  // namespace

TEMPLATE_LIST_TEST_CASE("reduce_and_update sums the gradients of all replicas and applies the rule once", "[reduce]",
                        backends) {
  check_all<TestType, 1, 2, 3, 8>();
}

TEMPLATE_LIST_TEST_CASE("the sum of gradients is taken in rank order, as a tree", "[reduce]", backends) {
  using B = TestType;
  using value = typename B::value_type;
  entered<B> e;
  // Each order lets another 1 survive.
  const double big = 1 / static_cast<double>(std::numeric_limits<value>::epsilon()) * 4;
  for (const std::int64_t n : {1, 65}) {
    array<B> plus(filled(n, big));
    array<B> one(filled(n, 1));
    array<B> minus(filled(n, -big));
    array<B> p(filled(n, poison));
    const auto check = [&](const auto& gradients, double want) {
      B::reduce_and_update(e.context, 0, n, gradients, p.data(), std::array<value*, 0>{}, ls::assign_rule{});
      check_close(p.read(), filled(n, want), 0);
    };
    check(std::array<const value*, 3>{plus.data(), one.data(), minus.data()}, 0);
    check(std::array<const value*, 3>{plus.data(), minus.data(), one.data()}, 1);
    // (1 + big) + (-big + 1) is 0, while adding one after the other gives 1.
    check(std::array<const value*, 4>{one.data(), plus.data(), minus.data(), one.data()}, 0);
    check(std::array<const value*, 4>{plus.data(), minus.data(), one.data(), one.data()}, 2);
  }
}

TEMPLATE_LIST_TEST_CASE("assign_rule and add_rule keep every bit of the sum", "[reduce]", backends) {
  using B = TestType;
  using value = typename B::value_type;
  entered<B> e;
  const std::int64_t n = 131;
  doubles g = uniform(n, 1);
  g[3] = poison;
  g[70] = infinity;
  const doubles p = uniform(n, 2);
  const auto added = [&](std::size_t i) {
    return static_cast<double>(static_cast<value>(p[i]) + static_cast<value>(g[i]));
  };
  array<B> gradient(g);
  const std::array<const value*, 1> from{gradient.data()};
  for (const auto& [first, last] : {std::array<std::int64_t, 2>{0, n}, {5, 75}}) {
    array<B> sum(p, 1);
    B::reduce_and_update(e.context, first, last, from, sum.data(), std::array<value*, 0>{}, ls::add_rule{});
    check_close(sum.read(), replaced(p, first, last, added), 0);
    B::reduce_and_update(e.context, first, last, from, sum.data(), std::array<value*, 0>{}, ls::assign_rule{});
    check_close(sum.read(), replaced(p, first, last, [&](std::size_t i) { return g[i]; }), 0);
  }
}

TEMPLATE_LIST_TEST_CASE("a stored rule is read where the work runs", "[reduce]", backends) {
  using B = TestType;
  using value = typename B::value_type;
  entered<B> e;
  gradient_set<B, 2> gradients;
  const doubles sum = gradients.sum();
  const double allowed = tolerance<value>(4);
  stored<B, descent_rule<value>> rule({value{0.5}});
  stored<B, velocity_rule<value>> velocity({value{0.5}});
  for (const double factor : {0.5, -2.0}) {
    CAPTURE(B::name, factor);
    rule.write({static_cast<value>(factor)});
    velocity.write({static_cast<value>(factor)});
    const doubles p = uniform(size, 1);
    const doubles v = uniform(size, 2);
    array<B> parameters(p);
    array<B> state(v);
    B::reduce_and_update(e.context, 100, 1000, gradients.pointers(), parameters.data(), std::array<value*, 0>{},
                         ls::stored_rule<descent_rule<value>>{rule.get()});
    check_close(parameters.read(), replaced(p, 100, 1000, [&](std::size_t i) { return p[i] - factor * sum[i]; }),
                4 * allowed);
    B::reduce_and_update(e.context, 100, 1000, gradients.pointers(), parameters.data(),
                         std::array<value*, 1>{state.data()}, ls::stored_rule<velocity_rule<value>>{velocity.get()});
    check_close(state.read(), replaced(v, 100, 1000, [&](std::size_t i) { return factor * v[i] + sum[i]; }),
                2 * allowed);
  }
}

TEMPLATE_LIST_TEST_CASE("a stored scaled rule takes the gradients times the terms' scale", "[reduce]", backends) {
  using B = TestType;
  using value = typename B::value_type;
  using descent = descent_rule<value>;
  entered<B> e;
  gradient_set<B, 3> gradients;
  const doubles sum = gradients.sum();
  const doubles p = uniform(size, 1);
  stored<B, descent> rule({value{0.5}});
  const auto run = [&](const ls::update_terms& values, auto may_skip) {
    stored<B, ls::update_terms> terms(values);
    array<B> parameters(p);
    B::reduce_and_update(e.context, 17, 273, gradients.pointers(), parameters.data(), std::array<value*, 0>{},
                         ls::stored_scaled_rule<descent, value, decltype(may_skip)::value>{rule.get(), terms.get()});
    return parameters.read();
  };
  const auto scaled = [&](double scale) {
    return replaced(p, 17, 273, [&](std::size_t i) { return p[i] - 0.5 * scale * sum[i]; });
  };
  const double allowed = tolerance<value>(3) * 2;
  for (const double scale : {1.0, 0.25}) {
    CAPTURE(B::name, scale);
    check_close(run({.scale = scale, .finite = 1}, std::true_type{}), scaled(scale), allowed);
    check_close(run({.scale = scale, .finite = 1}, std::false_type{}), scaled(scale), allowed);
    check_close(run({.scale = scale, .finite = 0}, std::true_type{}), p, 0);
    check_close(run({.scale = scale, .finite = 0}, std::false_type{}), scaled(scale), allowed);
  }
}

TEMPLATE_LIST_TEST_CASE("a scaled rule that skips leaves its states alone too", "[reduce]", backends) {
  using B = TestType;
  using value = typename B::value_type;
  using velocity = velocity_rule<value>;
  entered<B> e;
  array<B> gradient(filled(size, poison));
  const std::array<const value*, 1> from{gradient.data()};
  const doubles p = uniform(size, 1);
  const doubles v = uniform(size, 2);
  array<B> parameters(p);
  array<B> state(v);
  stored<B, velocity> rule({value{0.5}});
  stored<B, ls::update_terms> terms({.norm = poison, .scale = 1, .finite = 0});
  B::reduce_and_update(e.context, 0, size, from, parameters.data(), std::array<value*, 1>{state.data()},
                       ls::stored_scaled_rule<velocity, value, true>{rule.get(), terms.get()});
  check_close(parameters.read(), p, 0);
  check_close(state.read(), v, 0);
  B::reduce_and_update(e.context, 0, size, from, parameters.data(), std::array<value*, 1>{state.data()},
                       ls::stored_scaled_rule<velocity, value, false>{rule.get(), terms.get()});
  check_close(state.read(), filled(size, poison), 0);
}

TEMPLATE_LIST_TEST_CASE("rules that take vectors treat infinities and NaN as PyTorch does", "[reduce]", backends) {
  using B = TestType;
  using value = typename B::value_type;
  entered<B> e;
  const doubles special{0, 1, -1, 0.25, infinity, -infinity, poison};
  doubles g, b, c;
  for (const double x : special)
    for (const double y : special) {
      g.push_back(x);
      b.push_back(y);
      c.push_back(y);
    }
  const auto n = static_cast<std::int64_t>(g.size());
  array<B> gradient(g);
  array<B> parameters(filled(n, 0));
  array<B> sums(filled(n, 0));
  array<B> roots(b);
  array<B> most(c);
  B::reduce_and_update(e.context, 0, n, std::array<const value*, 1>{gradient.data()}, parameters.data(),
                       std::array<value*, 3>{sums.data(), roots.data(), most.data()},
                       three_state_rule<value>{value{2}});
  doubles p(g.size());
  for (std::size_t i = 0; i < g.size(); ++i) {
    // A NaN has the sign 0, as in torch.sign, and the maximum with a NaN is the gradient.
    b[i] = std::sqrt(b[i]);
    c[i] = c[i] > g[i] ? c[i] : g[i];
    p[i] = std::clamp((g[i] > 0 ? 1.0 : g[i] < 0 ? -1.0 : 0.0) - b[i], -0.5, 0.5);
  }
  check_close(sums.read(), g, 0);
  check_close(roots.read(), b, 0);
  check_close(most.read(), c, 0);
  check_close(parameters.read(), p, 0);
}
