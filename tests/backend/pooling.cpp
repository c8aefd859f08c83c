// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include <cmath>
#include <cstdint>

#include "backend/support.hpp"

namespace {

using namespace lockstep_test;

/// One forward and one backward pass for `n` samples of the given pictures against the oracle.
template <class B, ls::pooling_geometry G>
void check_pooling(typename B::context& c, std::int64_t n, const doubles& values) {
  using value = typename B::value_type;
  constexpr ls::dims in{G.channels, G.in.height, G.in.width};
  constexpr ls::dims out{G.channels, G.out().height, G.out().width};
  CAPTURE(B::name, static_cast<int>(G.kind), ls::to_string(in), ls::to_string(out), n);

  const doubles x = held<B>(values);
  const doubles dy = held<B>(uniform(n * G.out_size(), 2));
  oracle::context oc;
  oracle::pooling<G> exact(oc, n);
  doubles want_y(dy.size());
  doubles want_dx(x.size());
  exact.forward(oc, x.data(), want_y.data());
  exact.backward(oc, dy.data(), want_dx.data());

  array<B> px(to_backend<B>(x, n, in));
  array<B> py(filled(n * G.out_size(), poison));
  array<B> pdy(to_backend<B>(dy, n, out));
  array<B> pdx(filled(n * G.in_size(), poison));
  typename B::template pooling<G> op(c, n);
  op.forward(c, px.data(), py.data());
  op.backward(c, pdy.data(), pdx.data());

  constexpr std::int64_t terms = G.kernel.height * G.kernel.width;
  const bool maximum = G.kind == ls::pooling_kind::maximum;
  check_close(from_backend<B>(py.read(), n, out), want_y, maximum ? 0 : tolerance<value>(terms),
              maximum ? 0 : rounding<B>);
  check_close(from_backend<B>(pdx.read(), n, in), want_dx, tolerance<value>(terms), rounding<B>);
  check_close(from_backend<B>(px.read(), n, in), x, 0);
}

/// Values of which many are equal, as behind a relu: the first of the largest takes the gradient.
doubles with_ties(std::int64_t n) {
  doubles x = uniform(n, 3, -2, 2);
  for (double& v : x) v = std::max(std::floor(v), 0.0);
  return x;
}

/// A NaN among them, of which PyTorch lets every window see, before any number; and infinities.
doubles with_specials(std::int64_t n) {
  doubles x = uniform(n, 4);
  x[x.size() / 2] = poison;
  x[x.size() / 3] = infinity;
  x[x.size() / 5] = -infinity;
  return x;
}

template <class B, ls::pooling_geometry... G>
void check_all() {
  entered<B> e;
  for (const std::int64_t n : {1, 2, 5}) {
    (check_pooling<B, G>(e.context, n, uniform(n * G.in_size(), 1)), ...);
    (check_pooling<B, G>(e.context, n, uniform(n * G.in_size(), 1, -3, -2)), ...);
    (check_pooling<B, G>(e.context, n, with_ties(n * G.in_size())), ...);
    (check_pooling<B, G>(e.context, n, with_specials(n * G.in_size())), ...);
  }
}

template <class B, ls::pooling_kind Kind>
void check_kind() {
  check_all<B, ls::pooling_geometry{.kind = Kind, .channels = 16, .in = {6, 8}, .kernel = {2}, .stride = {2}},
            ls::pooling_geometry{.kind = Kind, .channels = 1, .in = {5, 7}, .kernel = {2}, .stride = {2}},
            ls::pooling_geometry{.kind = Kind, .channels = 11, .in = {2, 9}, .kernel = {2}, .stride = {2}},
            ls::pooling_geometry{
                .kind = Kind, .channels = 3, .in = {7, 5}, .kernel = {3}, .stride = {2}, .padding = {1}},
            ls::pooling_geometry{.kind = Kind, .channels = 1, .in = {4, 5}, .kernel = {2}, .stride = {1}},
            ls::pooling_geometry{
                .kind = Kind, .channels = 8, .in = {7, 8}, .kernel = {3, 2}, .stride = {2, 3}, .padding = {1, 0}}>();
}

}  // namespace

TEMPLATE_LIST_TEST_CASE("maximum pooling", "[pooling]", pass_backends) {
  check_kind<TestType, ls::pooling_kind::maximum>();
}

TEMPLATE_LIST_TEST_CASE("average pooling over the padding too", "[pooling]", pass_backends) {
  check_kind<TestType, ls::pooling_kind::average_include_padding>();
}

TEMPLATE_LIST_TEST_CASE("average pooling over the picture alone", "[pooling]", pass_backends) {
  check_kind<TestType, ls::pooling_kind::average_exclude_padding>();
}
