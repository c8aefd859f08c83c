// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>

#include "backend/support.hpp"

namespace {

using namespace lockstep_test;

constexpr std::int64_t sizes[] = {0, 1, 7, 63, 64, 65, 130, 1000};

/// Draws of B's passes with zeros of both signs, infinities and a NaN among them where there is room.
template <class B>
doubles awkward(std::int64_t n, std::uint64_t key) {
  doubles x = held<B>(uniform(n, key));
  const double special[] = {0.0, -0.0, infinity, -infinity, poison};
  for (std::size_t i = 0; i < 5 && 3 * i + 1 < x.size(); ++i) x[3 * i + 1] = special[i];
  return x;
}

/// What decides a mask, where the host reads it.
struct mask_values {
  ls::step_values now;
  std::uint32_t layer = 0;
  std::int64_t first_sample = 0;
};

template <class B>
ls::dropout_key key_of(const mask_values& mask, stored<B, ls::step_values>& now) {
  return {.now = now.get(), .layer = mask.layer, .first_sample = mask.first_sample};
}

double factor_of_dropout(const mask_values& mask, std::int64_t sample, std::int64_t i, float p) {
  const ls::random_stream stream(ls::seed{mask.now.seed}, ls::random_purpose::dropout,
                                 mask.now.step * 65536 + mask.layer,
                                 static_cast<std::uint64_t>(mask.now.first_sample + mask.first_sample + sample));
  return stream.uniform(static_cast<std::uint64_t>(i)) < p ? 0.0 : 1.0 / (1.0 - double{p});
}

template <class B>
doubles drop(typename B::context& c, const doubles& x, std::int64_t samples, float p, const mask_values& mask) {
  array<B> px(x);
  array<B> py(filled(static_cast<std::int64_t>(x.size()), poison));
  stored<B, ls::step_values> now(mask.now);
  B::dropout(c, samples, static_cast<std::int64_t>(x.size()) / samples, ls::dims{}, p, key_of<B>(mask, now), px.data(),
             py.data());
  check_close(px.read(), x, 0);
  return py.read();
}

}  // namespace

TEMPLATE_LIST_TEST_CASE("relu forward cuts what is negative and keeps a NaN", "[relu]", pass_backends) {
  using B = TestType;
  entered<B> e;
  for (const std::int64_t n : sizes) {
    CAPTURE(B::name, n);
    const doubles x = awkward<B>(n, 1);
    doubles want = x;
    for (double& v : want)
      if (v < 0) v = 0;
    array<B> px(x);
    array<B> py(filled(n, poison));
    B::relu_forward(e.context, n, px.data(), py.data());
    check_close(py.read(), want, 0);
    check_close(px.read(), x, 0);
    B::relu_forward(e.context, n, px.data(), px.data());
    check_close(px.read(), want, 0);
  }
}

TEMPLATE_LIST_TEST_CASE("relu backward passes the gradient where the output is positive", "[relu]", pass_backends) {
  using B = TestType;
  entered<B> e;
  for (const std::int64_t n : sizes) {
    CAPTURE(B::name, n);
    const doubles y = held<B>(rectified(n, 1));
    doubles dy = held<B>(uniform(n, 2));
    if (n > 3) dy[2] = poison;  // a NaN gradient survives where the output is positive and only there
    doubles want = dy;
    for (std::size_t i = 0; i < want.size(); ++i)
      if (!(y[i] > 0)) want[i] = 0;
    array<B> py(y);
    array<B> pdy(dy);
    array<B> pdx(filled(n, poison));
    B::relu_backward(e.context, n, py.data(), pdy.data(), pdx.data());
    check_close(pdx.read(), want, 0);
    check_close(pdy.read(), dy, 0);
    B::relu_backward(e.context, n, py.data(), pdy.data(), pdy.data());
    check_close(pdy.read(), want, 0);
  }
}

TEMPLATE_LIST_TEST_CASE("add adds each element once", "[add]", backends) {
  using B = TestType;
  using value = typename B::value_type;
  entered<B> e;
  for (const std::int64_t n : sizes)
    for (const std::int64_t shift : {0, 3}) {
      CAPTURE(B::name, n, shift);
      const doubles x = awkward<B>(n, 1);
      const doubles y = uniform(n, 2);
      doubles want = y;
      for (std::size_t i = 0; i < want.size(); ++i)
        want[i] = static_cast<double>(static_cast<value>(y[i]) + static_cast<value>(x[i]));
      array<B, value> px(x);
      array<B, value> py(y, shift);
      B::add(e.context, n, px.data(), py.data());
      check_close(py.read(), want, 0);
      check_close(px.read(), x, 0);
    }
}

TEMPLATE_LIST_TEST_CASE("dropout multiplies by the mask of its key", "[dropout]", pass_backends) {
  using B = TestType;
  using value = typename B::value_type;
  entered<B> e;
  const mask_values mask{.now = {.seed = 11, .step = 3, .first_sample = 30}, .layer = 2, .first_sample = 10};
  for (const std::int64_t size : {1, 3, 4, 7, 65, 130})
    for (const float p : {0.F, 0.1F, 0.5F, 0.9F, 1.F}) {
      CAPTURE(B::name, size, p);
      const std::int64_t samples = 3;
      const doubles x = held<B>(uniform(samples * size, 1, 0.5, 1));
      doubles want = x;
      for (std::int64_t s = 0; s < samples; ++s)
        for (std::int64_t i = 0; i < size; ++i) {
          const auto at = static_cast<std::size_t>(s * size + i);
          want[at] = p == 1.F ? 0 : x[at] * factor_of_dropout(mask, s, i, p);
        }
      const doubles got = drop<B>(e.context, x, samples, p, mask);
      check_close(got, want, tolerance<value>(1) / (p < 1.F ? 1 - double{p} : 1), rounding<B>);
      array<B> in_place(x);
      stored<B, ls::step_values> now(mask.now);
      B::dropout(e.context, samples, size, ls::dims{}, p, key_of<B>(mask, now), in_place.data(), in_place.data());
      check_close(in_place.read(), got, 0);
    }
}

TEMPLATE_LIST_TEST_CASE("dropout draws in PyTorch's order of elements whatever order they lie in", "[dropout]",
                        pass_backends) {
  using B = TestType;
  entered<B> e;
  const ls::dims picture{3, 4, 5};
  const mask_values mask{.now = {.seed = 9, .step = 2}, .layer = 1, .first_sample = 7};
  const std::int64_t samples = 2;
  const doubles x = held<B>(uniform(samples * picture.size(), 1, 0.5, 1));
  array<B> px(to_backend<B>(x, samples, picture));
  array<B> py(filled(samples * picture.size(), poison));
  stored<B, ls::step_values> now(mask.now);
  B::dropout(e.context, samples, picture.size(), B::picture_order == ls::element_order::plain ? ls::dims{} : picture,
             0.5F, key_of<B>(mask, now), px.data(), py.data());
  doubles want = x;
  for (std::int64_t s = 0; s < samples; ++s)
    for (std::int64_t i = 0; i < picture.size(); ++i)
      want[static_cast<std::size_t>(s * picture.size() + i)] *= factor_of_dropout(mask, s, i, 0.5F);
  check_close(from_backend<B>(py.read(), samples, picture), want, 0);
}

TEMPLATE_LIST_TEST_CASE("dropout keeps the right share, and the mean", "[dropout]", pass_backends) {
  using B = TestType;
  entered<B> e;
  const std::int64_t n = 20000;
  for (const float p : {0.1F, 0.5F, 0.8F}) {
    const doubles y = drop<B>(e.context, filled(n, 1), 20, p, {.now = {.seed = 5}});
    double mean = 0;
    double kept = 0;
    for (const double v : y) {
      mean += v / n;
      kept += v != 0 ? 1 : 0;
    }
    const double deviation = std::sqrt(double{p} * (1 - double{p}) / n);
    CAPTURE(B::name, p);
    CHECK(kept / n == Approx(1 - double{p}).margin(4 * deviation));
    CHECK(mean == Approx(1).margin(4 * deviation / (1 - double{p}) + rounding<B>));
  }
}

TEMPLATE_LIST_TEST_CASE("dropout's mask belongs to the global sample, not to the place in the shard", "[dropout]",
                        pass_backends) {
  using B = TestType;
  entered<B> e;
  const std::int64_t size = 37;
  const std::int64_t samples = 8;
  const mask_values mask{.now = {.seed = 1, .step = 2}, .layer = 3, .first_sample = 16};
  const doubles ones = filled(samples * size, 1);
  const doubles whole = drop<B>(e.context, ones, samples, 0.5F, mask);

  doubles pieces;
  for (const std::int64_t count : {1, 5, 2}) {
    auto part_mask = mask;
    part_mask.first_sample += static_cast<std::int64_t>(pieces.size()) / size;
    const doubles part = drop<B>(e.context, filled(count * size, 1), count, 0.5F, part_mask);
    pieces.insert(pieces.end(), part.begin(), part.end());
  }
  CHECK(pieces == whole);

  // A rank whose batch begins at sample 11 of all ranks', and a shard that begins at sample 5 of it.
  auto other = mask;
  other.now.first_sample = 11;
  other.first_sample = 5;
  CHECK(drop<B>(e.context, ones, samples, 0.5F, other) == whole);

  other = mask;
  other.now.step = 3;
  CHECK(drop<B>(e.context, ones, samples, 0.5F, other) != whole);
  other = mask;
  other.layer = 4;
  CHECK(drop<B>(e.context, ones, samples, 0.5F, other) != whole);
  other = mask;
  other.now.seed = 2;
  CHECK(drop<B>(e.context, ones, samples, 0.5F, other) != whole);
  const doubles first(whole.begin(), whole.begin() + size);
  const doubles second(whole.begin() + size, whole.begin() + 2 * size);
  CHECK(first != second);
}

TEMPLATE_LIST_TEST_CASE("a change of order moves every element and changes none", "[order]", pass_backends) {
  using B = TestType;
  entered<B> e;
  for (const ls::dims& picture : {ls::dims{3, 4, 5}, ls::dims{1, 3, 2}, ls::dims{5, 1, 1}, ls::dims{16, 2, 3},
                                  ls::dims{2, 7, 1}, ls::dims{3, 1, 1}})
    for (const std::int64_t n : {1, 2, 5}) {
      CAPTURE(B::name, ls::to_string(picture), n);
      const doubles x = held<B>(uniform(n * picture.size(), 1));
      oracle::context oc;
      doubles want(x.size());
      oracle::to_channels_last(oc, n, picture, x.data(), want.data());
      CHECK(want == reordered(x, n, picture, true));

      array<B> plain(x);
      array<B> last(filled(n * picture.size(), poison));
      B::to_channels_last(e.context, n, picture, plain.data(), last.data());
      check_close(last.read(), want, 0);
      array<B> back(filled(n * picture.size(), poison));
      B::to_plain(e.context, n, picture, last.data(), back.data());
      check_close(back.read(), x, 0);

      doubles oracle_back(x.size());
      oracle::to_plain(oc, n, picture, want.data(), oracle_back.data());
      CHECK(oracle_back == x);
    }
}

TEMPLATE_LIST_TEST_CASE("elements that a pass computes in are the nearest of the user's", "[convert]",
                        converting_backends) {
  using B = TestType;
  using value = typename B::value_type;
  STATIC_REQUIRE(ls::converts_values<B>);
  entered<B> e;
  // Half of the step between 1 and the next larger element. Halfway between two elements, both ways; and just off it.
  constexpr double half_step = sizeof(typename B::activation_type) == 2 ? 0x1p-8 : 0x1p-24;
  constexpr double off = half_step * 0x1p-15;
  const doubles ties{1 + half_step,       1 + 3 * half_step,   -1 - half_step,
                     1 + half_step + off, 1 + half_step - off, 0x1p-126};
  const doubles nearest{1, 1 + 4 * half_step, -1, 1 + 2 * half_step, 1, 0x1p-126};
  for (const std::int64_t n : sizes)
    for (const std::int64_t shift : {0, 3}) {
      CAPTURE(B::name, n, shift);
      doubles x = uniform(n, 1);
      for (double& v : x) v /= 3;  // with as many digits as the user's elements have
      doubles want = held<B>(x);
      if (n >= 64) {
        std::copy(ties.begin(), ties.end(), x.begin() + 7);
        std::copy(nearest.begin(), nearest.end(), want.begin() + 7);
        x[20] = want[20] = infinity;
        x[21] = want[21] = poison;
      }
      array<B, value> given(x, shift);
      array<B> narrow(filled(n, 0), shift);
      array<B, value> back(filled(n, 0));
      B::convert(e.context, n, given.data(), narrow.data());
      check_close(narrow.read(), want, 0);
      B::convert(e.context, n, narrow.data(), back.data());
      check_close(back.read(), want, 0);
    }

  const ls::dims picture{3, 9, 8};
  const doubles x = uniform(2 * picture.size(), 2);
  array<B, value> given(x);
  array<B> narrow(filled(2 * picture.size(), poison));
  B::to_channels_last(e.context, 2, picture, given.data(), narrow.data());
  check_close(narrow.read(), held<B>(reordered(x, 2, picture, true)), 0);
}
