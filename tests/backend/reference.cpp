// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include <array>
#include <cmath>
#include <cstdint>

#include <lockstep/backend/rule.hpp>

#include "backend/support.hpp"

// The oracle itself, held against values worked out by hand.

namespace {

using namespace lockstep_test;

}  // namespace

TEST_CASE("the oracle's linear gives hand-computed values") {
  static constexpr ls::linear_geometry g{.in = 3, .out = 2, .mask_input = true};
  oracle::context c;
  oracle::linear<g> linear(c, 2);
  const doubles x{1, 2, 3, 0, -1, 4};
  const doubles w{1, 0, -1, 2, 1, 0.5};
  const doubles b{10, 20};
  doubles y(4, poison);
  linear.forward(c, x.data(), w.data(), b.data(), y.data());
  CHECK(y == doubles{8, 25.5, 6, 21});

  const doubles dy{1, 2, -1, 3};
  doubles dx(6, poison);
  doubles dw(6, poison);
  doubles db(2, poison);
  linear.backward(c, x.data(), dy.data(), w.data(), dx.data(), dw.data(), db.data(), false);
  CHECK(dw == doubles{1, 3, -1, 2, 1, 18});
  CHECK(db == doubles{0, 5});
  CHECK(dx == doubles{5, 2, 0, 0, 0, 2.5});
  linear.backward(c, x.data(), dy.data(), w.data(), dx.data(), dw.data(), db.data(), true);
  CHECK(dw == doubles{2, 6, -2, 4, 2, 36});
  CHECK(db == doubles{0, 10});
}

TEST_CASE("the oracle's relu behind a linear cuts negative values") {
  static constexpr ls::linear_geometry g{.in = 1, .out = 2, .bias = false, .relu = true};
  oracle::context c;
  oracle::linear<g> linear(c, 1);
  const doubles x{2};
  const doubles w{-3, 3};
  doubles y(2, poison);
  linear.forward(c, x.data(), w.data(), nullptr, y.data());
  CHECK(y == doubles{0, 6});
}

TEST_CASE("the oracle's convolution gives hand-computed values") {
  // One 3 x 3 picture, kernel 2 x 2, stride 1, padding 1 on the left and right only: output 2 x 4.
  static constexpr ls::convolution_geometry g{.in_channels = 1,
                                              .in = {3, 3},
                                              .out_channels = 1,
                                              .kernel = {2},
                                              .stride = {1},
                                              .padding = {0, 1},
                                              .dilation = {1}};
  static_assert(g.out() == ls::extent2{2, 4});
  oracle::context c;
  oracle::convolution<g> convolution(c, 1);
  const doubles x{1, 2, 3, 4, 5, 6, 7, 8, 9};
  const doubles w{1, 10, 100, 1000};
  const doubles b{0.5};
  doubles y(8, poison);
  convolution.forward(c, x.data(), w.data(), b.data(), y.data());
  CHECK(y == doubles{4010.5, 5421.5, 6532.5, 603.5, 7040.5, 8754.5, 9865.5, 906.5});

  const doubles dy{1, 0, 0, 0, 0, 0, 2, 0};
  doubles dx(9, poison);
  doubles dw(4, poison);
  doubles db(1, poison);
  convolution.backward(c, x.data(), dy.data(), w.data(), dx.data(), dw.data(), db.data(), false);
  CHECK(db == doubles{3});
  CHECK(dw == doubles{10, 13, 16, 22});
  CHECK(dx == doubles{10, 0, 0, 1000, 2, 20, 0, 200, 2000});
}

TEST_CASE("the oracle's convolution knows stride, dilation and groups") {
  // Two groups of one channel each; taps two pixels apart; windows two pixels apart.
  static constexpr ls::convolution_geometry g{.in_channels = 2,
                                              .in = {1, 5},
                                              .out_channels = 2,
                                              .kernel = {1, 2},
                                              .stride = {1, 2},
                                              .dilation = {1, 2},
                                              .groups = 2,
                                              .bias = false,
                                              .relu = true};
  static_assert(g.out() == ls::extent2{1, 2});
  oracle::context c;
  oracle::convolution<g> convolution(c, 1);
  const doubles x{1, 2, 3, 4, 5, 6, 7, 8, 9, 10};
  const doubles w{1, 10, 1, -10};
  doubles y(4, poison);
  convolution.forward(c, x.data(), w.data(), nullptr, y.data());
  CHECK(y == doubles{31, 53, 0, 0});
}

TEST_CASE("the oracle's pooling gives hand-computed values") {
  // 3 x 3, kernel 2, stride 2, padding 1: windows see 1; 2 3; 4 7; 5 6 8 9.
  static constexpr ls::pooling_geometry maximum{
      .kind = ls::pooling_kind::maximum, .channels = 1, .in = {3}, .kernel = {2}, .stride = {2}, .padding = {1}};
  static constexpr auto include = [] {
    auto g = maximum;
    g.kind = ls::pooling_kind::average_include_padding;
    return g;
  }();
  static constexpr auto exclude = [] {
    auto g = maximum;
    g.kind = ls::pooling_kind::average_exclude_padding;
    return g;
  }();
  oracle::context c;
  const doubles x{-1, 2, 3, 4, 5, 6, 7, 8, 9};
  const doubles dy{1, 2, 3, 4};
  doubles y(4, poison);
  doubles dx(9, poison);

  oracle::pooling<maximum> m(c, 1);
  m.forward(c, x.data(), y.data());
  CHECK(y == doubles{-1, 3, 7, 9});
  m.backward(c, dy.data(), dx.data());
  CHECK(dx == doubles{1, 0, 2, 0, 0, 0, 3, 0, 4});

  oracle::pooling<include> i(c, 1);
  i.forward(c, x.data(), y.data());
  CHECK(y == doubles{-0.25, 1.25, 2.75, 7});
  i.backward(c, dy.data(), dx.data());
  CHECK(dx == doubles{0.25, 0.5, 0.5, 0.75, 1, 1, 0.75, 1, 1});

  oracle::pooling<exclude> e(c, 1);
  e.forward(c, x.data(), y.data());
  CHECK(y == doubles{-1, 2.5, 5.5, 7});
  e.backward(c, dy.data(), dx.data());
  CHECK(dx == doubles{1, 1, 1, 1.5, 1, 1, 1.5, 1, 1});
}

TEST_CASE("the oracle's change of order moves single elements where they belong") {
  oracle::context c;
  const ls::dims picture{2, 1, 3};
  const doubles plain{1, 2, 3, 4, 5, 6};
  doubles last(6, poison);
  oracle::to_channels_last(c, 1, picture, plain.data(), last.data());
  CHECK(last == doubles{1, 4, 2, 5, 3, 6});
  doubles back(6, poison);
  oracle::to_plain(c, 1, picture, last.data(), back.data());
  CHECK(back == plain);
}

TEST_CASE("the oracle's cross entropy gives hand-computed values") {
  oracle::context c;
  // Softmax of (0, ln 3) is (1/4, 3/4).
  const doubles logits{0, std::log(3.0)};
  const std::array<std::int64_t, 1> target{1};
  doubles gradient(2, poison);
  const ls::step_values twice{.scale = 2};
  double loss = 1;
  oracle::softmax_cross_entropy(c, 1, {.classes = 2}, logits.data(), target.data(), gradient.data(), &twice, &loss);
  CHECK(loss == Approx(1 + std::log(4.0 / 3)).epsilon(1e-14));
  check_close(gradient, {0.5, -0.5}, 1e-14);
  oracle::softmax_cross_entropy(c, 1, {.classes = 2}, logits.data(), target.data(), nullptr, nullptr, &loss);
  CHECK(loss == Approx(1 + 2 * std::log(4.0 / 3)).epsilon(1e-14));

  // Weights 2 and 3, smoothing 0.5: 0.75 * 3 on the target, 0.25 * 2 on the other class.
  const std::array<float, 2> weights{2, 3};
  const ls::step_values once;
  double weighted = 0;
  oracle::softmax_cross_entropy(c, 1, {.classes = 2, .class_weights = weights.data(), .label_smoothing = 0.5F},
                                logits.data(), target.data(), gradient.data(), &once, &weighted);
  CHECK(weighted == Approx(2.25 * std::log(4.0 / 3) + 0.5 * std::log(4.0)).epsilon(1e-14));
  check_close(gradient, {2.75 / 4 - 0.5, 2.75 * 3 / 4 - 2.25}, 1e-14);
}

TEST_CASE("the oracle's squared error gives hand-computed values") {
  oracle::context c;
  const doubles y{1, 2, 3};
  const doubles t{0, 4, 3};
  doubles dy(3, poison);
  const ls::step_values halved{.scale = 0.5};
  double loss = 10;
  oracle::squared_error(c, 3, y.data(), t.data(), dy.data(), &halved, &loss);
  CHECK(loss == 15.0);
  CHECK(dy == doubles{1, -2, 0});
  oracle::squared_error(c, 3, y.data(), t.data(), nullptr, nullptr, &loss);
  CHECK(loss == 20.0);
}

TEST_CASE("the oracle's sums of squares and norm give hand-computed values") {
  oracle::context c;
  const doubles x{1, 2, 2, -4, 0, 12};
  doubles sums(3, poison);
  oracle::square_sums(c, 5, 2, x.data(), sums.data());
  CHECK(sums == doubles{5, 20, 0});
  oracle::square_sums(c, 6, 6, x.data(), sums.data());
  CHECK(sums == doubles{169, 20, 0});

  ls::update_terms terms{.norm = -1, .scale = -1, .finite = -1};
  oracle::gradient_norm(c, 1, sums.data(), 20, &terms);
  CHECK(terms.norm == 13);
  CHECK(terms.scale == 1);
  CHECK(terms.finite == 1);
  oracle::gradient_norm(c, 1, sums.data(), 6.5, &terms);
  CHECK(terms.scale == Approx(0.5).epsilon(1e-6));
}

TEST_CASE("the oracle applies a rule that lies elsewhere") {
  oracle::context c;
  const doubles g{1, 2, 3};
  const doubles h{10, 20, 30};
  doubles p{5, 5, 5};
  const std::array<const double*, 2> gradients{g.data(), h.data()};
  const ls::add_rule add;
  oracle::reduce_and_update(c, 1, 3, gradients, p.data(), std::array<double*, 0>{},
                            ls::stored_rule<ls::add_rule>{&add});
  CHECK(p == doubles{5, 27, 38});
  const ls::update_terms terms{.scale = 0.5};
  oracle::reduce_and_update(c, 0, 1, gradients, p.data(), std::array<double*, 0>{},
                            ls::stored_scaled_rule<ls::add_rule, double, true>{&add, &terms});
  CHECK(p == doubles{10.5, 27, 38});
}
