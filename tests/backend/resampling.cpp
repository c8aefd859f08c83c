// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include <lockstep/backend/resampling.hpp>

#include <cmath>
#include <cstdint>
#include <utility>
#include <vector>

#include "backend/support.hpp"

namespace {

using namespace lockstep_test;
using geometry = ls::resampling_geometry;
using kinds = ls::resampling_kind;

std::vector<std::pair<std::int64_t, double>> taps(kinds kind, std::int64_t in, std::int64_t out, std::int64_t o) {
  std::vector<std::pair<std::int64_t, double>> all;
  ls::for_each_tap(kind, in, out, o, [&](std::int64_t i, double weight) { all.emplace_back(i, weight); });
  return all;
}
using list = std::vector<std::pair<std::int64_t, double>>;

/// One forward and one backward pass for `n` of `most` samples against the oracle.
template <class B, geometry G>
void check(typename B::context& c, std::int64_t most, std::int64_t n) {
  using value = typename B::value_type;
  constexpr ls::dims in{G.channels, G.in.height, G.in.width};
  constexpr ls::dims out{G.channels, G.out.height, G.out.width};
  CAPTURE(B::name, static_cast<int>(G.kind), ls::to_string(in), ls::to_string(out), n);

  const doubles x = held<B>(uniform(n * G.in_size(), 1));
  const doubles dy = held<B>(uniform(n * G.out_size(), 2));
  oracle::context oc;
  oracle::resampling<G> exact(oc, n);
  doubles want_y(dy.size());
  doubles want_dx(x.size());
  exact.forward(oc, x.data(), want_y.data());
  exact.backward(oc, dy.data(), want_dx.data());

  array<B> px(to_backend<B>(x, n, in));
  array<B> py(filled(n * G.out_size(), poison));
  array<B> pdy(to_backend<B>(dy, n, out));
  array<B> pdx(filled(n * G.in_size(), poison));
  typename B::template resampling<G> op(c, most);
  op.set_samples(n);
  op.forward(c, px.data(), py.data());
  op.backward(c, pdy.data(), pdx.data());

  // The weights of an output add up to 1; those of an input, to what an output has of inputs' places or to 4.
  constexpr std::int64_t terms = 8;
  check_close(from_backend<B>(py.read(), n, out), want_y, tolerance<value>(terms), rounding<B>);
  constexpr std::int64_t readers = 1 + 4 * (G.out.height / G.in.height + 1) * (G.out.width / G.in.width + 1);
  check_close(from_backend<B>(pdx.read(), n, in), want_dx, tolerance<value>(readers), rounding<B>);
  check_close(from_backend<B>(px.read(), n, in), x, 0);
  check_close(from_backend<B>(pdy.read(), n, out), dy, 0);
}

template <class B, kinds Kind>
void check_kind() {
  const auto all = []<geometry... G> {
    entered<B> e;
    for (const std::int64_t n : {1, 3}) (check<B, G>(e.context, n == 3 ? 4 : n, n), ...);
  };
  if constexpr (!ls::resamples_pictures<B>)
    LOCKSTEP_SKIP("the backend does not resample pictures");
  else
    all.template operator()<geometry{.kind = Kind, .channels = 16, .in = {4, 3}, .out = {8, 6}},
                            geometry{.kind = Kind, .channels = 8, .in = {5, 7}, .out = {3, 11}},
                            geometry{.kind = Kind, .channels = 3, .in = {6, 6}, .out = {1, 1}},
                            geometry{.kind = Kind, .channels = 24, .in = {1, 2}, .out = {3, 5}},
                            geometry{.kind = Kind, .channels = 33, .in = {9, 4}, .out = {4, 3}},
                            geometry{.kind = Kind, .channels = 1, .in = {7, 5}, .out = {7, 2}}>();
}

}  // namespace

// Numbers by hand, from the documentation of torch.nn.functional.interpolate and adaptive_avg_pool2d.
TEST_CASE("what an output reads along an axis", "[resampling]") {
  CHECK(taps(kinds::average, 5, 3, 0) == list{{0, 0.5}, {1, 0.5}});
  CHECK(taps(kinds::average, 5, 3, 1) == list{{1, 1 / 3.0}, {2, 1 / 3.0}, {3, 1 / 3.0}});
  CHECK(taps(kinds::average, 5, 3, 2) == list{{3, 0.5}, {4, 0.5}});
  CHECK(taps(kinds::average, 2, 4, 3) == list{{1, 1.0}});
  CHECK(taps(kinds::nearest, 3, 8, 5) == list{{1, 1.0}});
  CHECK(taps(kinds::nearest, 3, 6, 5) == list{{2, 1.0}});
  // A third of 49 is no number of float or double.
  for (std::int64_t o = 0; o < 49 * 49; ++o) CHECK(taps(kinds::nearest, 49, 49 * 49, o) == list{{o / 49, 1.0}});
  CHECK(taps(kinds::bilinear, 2, 4, 0) == list{{0, 1.0}});
  CHECK(taps(kinds::bilinear, 2, 4, 1) == list{{0, 0.75}, {1, 0.25}});
  CHECK(taps(kinds::bilinear, 2, 4, 2) == list{{0, 0.25}, {1, 0.75}});
  CHECK(taps(kinds::bilinear, 2, 4, 3) == list{{1, 1.0}});
  CHECK(taps(kinds::bilinear, 1, 3, 2) == list{{0, 1.0}});
  CHECK(taps(kinds::bilinear_corners, 3, 5, 1) == list{{0, 0.5}, {1, 0.5}});
  CHECK(taps(kinds::bilinear_corners, 3, 5, 2) == list{{1, 1.0}});
  CHECK(taps(kinds::bilinear_corners, 3, 5, 4) == list{{2, 1.0}});
  CHECK(taps(kinds::bilinear_corners, 3, 1, 0) == list{{0, 1.0}});
}

TEMPLATE_LIST_TEST_CASE("adaptive average pooling", "[resampling]", pass_backends) {
  check_kind<TestType, kinds::average>();
}
TEMPLATE_LIST_TEST_CASE("nearest pixels", "[resampling]", pass_backends) { check_kind<TestType, kinds::nearest>(); }
TEMPLATE_LIST_TEST_CASE("bilinear interpolation", "[resampling]", pass_backends) {
  check_kind<TestType, kinds::bilinear>();
  check_kind<TestType, kinds::bilinear_corners>();
}

TEMPLATE_LIST_TEST_CASE("the mean of a large channel is as good as that of a small one", "[resampling]",
                        pass_backends) {
  if constexpr (!ls::resamples_pictures<TestType>) {
    LOCKSTEP_SKIP("the backend does not resample pictures");
  } else {
    constexpr geometry g{.channels = 16, .in = {512, 512}, .out = {1, 1}};
    entered<TestType> e;
    array<TestType> px(held<TestType>(uniform(g.in_size(), 1, 1, 2)));  // the same in any order but for the channels
    array<TestType> py(filled(16, poison));
    typename TestType::template resampling<g> op(e.context, 1);
    op.forward(e.context, px.data(), py.data());
    const doubles x = px.read();
    const bool last = TestType::picture_order == ls::element_order::channels_last;
    doubles means(16);
    for (std::size_t i = 0; i < x.size(); ++i) means[last ? i % 16 : i / (x.size() / 16)] += x[i] / (512.0 * 512);
    check_close(py.read(), means, 0, 2e-6 + rounding<TestType>);
  }
}
