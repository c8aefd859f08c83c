// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <type_traits>
#include <vector>

#include <lockstep/backend/capabilities.hpp>
#include <lockstep/backend/channel_layout.hpp>

#include "backend/support.hpp"

/// \file
/// The softmax primitives against loops in double, on rows and on pictures in both orders.

namespace {

using namespace lockstep_test;

/// Where the elements lie that one softmax goes over.
std::vector<std::size_t> row_of(const ls::channel_layout& layout, std::int64_t sample, std::int64_t pixel) {
  std::vector<std::size_t> all;
  for (std::int64_t c = 0; c < layout.channels; ++c)
    all.push_back(
        static_cast<std::size_t>(sample * layout.channels * layout.pixels +
                                 (layout.channels_last ? pixel * layout.channels + c : c * layout.pixels + pixel)));
  return all;
}

template <class F>
void each_row(const ls::channel_layout& layout, std::int64_t samples, const F& f) {
  for (std::int64_t s = 0; s < samples; ++s)
    for (std::int64_t p = 0; p < layout.pixels; ++p) f(row_of(layout, s, p));
}

doubles softmax_of(const doubles& x, const ls::channel_layout& layout, std::int64_t samples, bool logarithm) {
  doubles y = x;
  each_row(layout, samples, [&](const std::vector<std::size_t>& row) {
    double top = x[row[0]];
    for (const std::size_t i : row) top = std::max(top, x[i]);
    double sum = 0;
    for (const std::size_t i : row) sum += std::exp(x[i] - top);
    for (const std::size_t i : row) y[i] = logarithm ? x[i] - top - std::log(sum) : std::exp(x[i] - top) / sum;
  });
  return y;
}

doubles gradient_of(const doubles& y, const doubles& dy, const ls::channel_layout& layout, std::int64_t samples,
                    bool logarithm) {
  doubles dx = y;
  each_row(layout, samples, [&](const std::vector<std::size_t>& row) {
    double sum = 0;
    for (const std::size_t i : row) sum += logarithm ? dy[i] : dy[i] * y[i];
    for (const std::size_t i : row) dx[i] = logarithm ? dy[i] - std::exp(y[i]) * sum : y[i] * (dy[i] - sum);
  });
  return dx;
}

template <class B>
void check_softmax(typename B::context& c, const ls::channel_layout& layout, std::int64_t samples, double spread) {
  using activation = typename B::activation_type;
  const std::int64_t n = samples * layout.size();
  const doubles x = held<B>(uniform(n, 1, -spread, spread));
  const doubles dy = held<B>(uniform(n, 2));
  for (const bool logarithm : {false, true}) {
    CAPTURE(B::name, layout.channels, layout.pixels, layout.channels_last, samples, spread, logarithm);
    constexpr double eps = static_cast<double>(std::numeric_limits<typename B::value_type>::epsilon());
    const doubles want = softmax_of(x, layout, samples, logarithm);
    array<B> px(x);
    array<B> py(filled(n, poison));
    B::softmax_rows(c, samples, layout, logarithm, static_cast<const activation*>(px.data()), py.data());
    const doubles y = py.read();
    // The exponentials of numbers whose distance was rounded; logarithms of as many as there are channels.
    // Sums are taken in double.
    const double relative = rounding<B> + eps * (6 + 2 * spread) + 1e-16 * static_cast<double>(layout.channels);
    check_close(y, want, logarithm ? eps * 20 : 0x1p-140, relative);
    check_close(px.read(), x, 0);
    B::softmax_rows(c, samples, layout, logarithm, static_cast<const activation*>(px.data()), px.data());
    check_close(px.read(), y, 0);

    const doubles gradient = gradient_of(y, dy, layout, samples, logarithm);
    array<B> pdy(dy);
    array<B> pdx(filled(n, poison));
    B::softmax_rows_backward(c, samples, layout, logarithm, static_cast<const activation*>(py.data()),
                             static_cast<const activation*>(pdy.data()), pdx.data());
    const doubles dx = pdx.read();
    // A sum over the row, whose rounding errors grow with it, times e^y, which is at most 1.
    const double allowed = logarithm ? eps * (4 + std::sqrt(static_cast<double>(layout.channels))) : 4 * eps;
    check_close(dx, gradient, allowed, rounding<B> + 4 * eps);
    check_close(pdy.read(), dy, 0);
    B::softmax_rows_backward(c, samples, layout, logarithm, static_cast<const activation*>(py.data()),
                             static_cast<const activation*>(pdy.data()), pdy.data());
    check_close(pdy.read(), dx, 0);
  }
}

template <class B>
void check_softmaxes() {
  STATIC_REQUIRE(ls::computes_softmax<B>);
  entered<B> e;
  for (const std::int64_t channels : {1, 2, 7, 8, 10, 16, 17, 33, 300, 1500})
    for (const double spread : {1.0, 30.0}) {
      check_softmax<B>(e.context, {.channels = channels, .pixels = 1}, 3, spread);
      check_softmax<B>(e.context, {.channels = channels, .pixels = 5, .channels_last = true}, 2, spread);
      check_softmax<B>(e.context, {.channels = channels, .pixels = 5}, 2, spread);
    }
  check_softmax<B>(e.context, {.channels = 10, .pixels = 1}, 0, 1);
}

/// Rows of three, as the backend computes them.
template <class B>
doubles softmax_by(typename B::context& c, const doubles& x, bool logarithm) {
  using activation = typename B::activation_type;
  array<B> px(x);
  array<B> py(filled(static_cast<std::int64_t>(x.size()), 77));
  B::softmax_rows(c, static_cast<std::int64_t>(x.size()) / 3, {.channels = 3}, logarithm,
                  static_cast<const activation*>(px.data()), py.data());
  return py.read();
}

}  // namespace

TEMPLATE_LIST_TEST_CASE("softmax, its logarithm, and their gradients", "[softmax]", pass_backends) {
  check_softmaxes<TestType>();
}

TEST_CASE("the definition of softmax", "[softmax]") { check_softmaxes<oracle>(); }

TEMPLATE_LIST_TEST_CASE("softmax of what is far apart or no number", "[softmax]", pass_backends) {
  using B = TestType;
  entered<B> e;
  const doubles x{1e30, 0, -1e30,  -infinity, 2, 2, poison,    1,         2,
                  1,    2, poison, infinity,  1, 2, -infinity, -infinity, -infinity};
  const doubles y = softmax_by<B>(e.context, x, false);
  check_close(doubles(y.begin(), y.begin() + 6), {1, 0, 0, 0, 0.5, 0.5}, 0);
  check_close(doubles(y.begin() + 6, y.begin() + 12), filled(6, poison), 0);
  CHECK(std::isnan(y[12]));
  check_close(doubles(y.begin() + 15, y.end()), filled(3, poison), 0);
  const doubles log_y = softmax_by<B>(e.context, x, true);
  check_close(doubles(log_y.begin(), log_y.begin() + 4), held<B>({0, -1e30, -2e30, -infinity}), 1e15, rounding<B>);
  check_close(doubles(log_y.begin() + 4, log_y.begin() + 6), filled(2, -std::log(2.0)), 1e-6, rounding<B>);
  check_close(doubles(log_y.begin() + 6, log_y.begin() + 12), filled(6, poison), 0);
}
