// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include <lockstep/nn/loss.hpp>

#include <cmath>
#include <cstdint>
#include <limits>
#include <string>
#include <vector>

#include <lockstep/nn/activation.hpp>
#include <lockstep/nn/conv2d.hpp>
#include <lockstep/nn/linear.hpp>

#include "nn/support.hpp"

// Losses that add up parts of single elements, and the likelihood of a class.

namespace {

using namespace lockstep_test;
using ls::binary_cross_entropy_with_logits;
using ls::huber;
using ls::input;
using ls::kullback_leibler;
using ls::l1;
using ls::linear;
using ls::negative_log_likelihood;
using ls::smooth_l1;

/// A row of outputs, and a picture, which a backend may keep in an order of its own.
template <class Loss>
using row = ls::model<ls::sequential<linear<21>>, input<5>, Loss>;
template <class Loss>
using picture = ls::model<ls::sequential<ls::conv2d<3, 2>, ls::relu, ls::conv2d<2, 2>>, input<2, 4, 5>, Loss>;

/// Finite differences on the oracle, and every backend against it.
template <class Loss>
void check_loss(const Loss& loss = {}, settings s = {}) {
  s.samples = 4;
  check_gradients<row<Loss>>(loss, s);
  check_gradients<picture<Loss>>(loss, s);
}

/// The value of a loss for one output and target, and its gradient.
struct measured {
  double value;
  double gradient;
};
template <class B, class Loss>
measured measure(const Loss& loss, double y, double t) {
  using value = typename B::value_type;
  typename B::context context(1);
  const auto y_own = static_cast<value>(y);
  const auto t_own = static_cast<value>(t);
  value gradient{};
  double sum = 0;
  const ls::step_values now;
  const typename Loss::template op<B> op(context, loss);
  op.forward_backward(context, 1, ls::dims{1}, &y_own, &t_own, &gradient, &now, &sum);
  return {sum, static_cast<double>(gradient)};
}

void check_measured(const measured& got, double value, double gradient, double epsilon = 1e-14) {
  CHECK(got.value == Approx(value).epsilon(epsilon).margin(0));
  CHECK(got.gradient == Approx(gradient).epsilon(epsilon).margin(0));
}

/// A quantile of what may come: a user's loss.
struct pinball {
  template <class T>
  static constexpr T value(T y, T t) {
    return t > y ? T{0.75F} * (t - y) : T{0.25F} * (y - t);
  }
  template <class T>
  static constexpr T gradient(T y, T t) {
    return t > y ? T{-0.75F} : T{0.25F};
  }
};

/// One with an option, and calls into the library.
struct log_cosh {
  double width = 1;

  template <class T>
  T value(T y, T t) const {
    return std::log(std::cosh((y - t) / static_cast<T>(width)));
  }
  template <class T>
  T gradient(T y, T t) const {
    return std::tanh((y - t) / static_cast<T>(width)) / static_cast<T>(width);
  }
};

/// One of floats.
struct cubic {
  static float value(float y, float t) { return std::fabs((y - t) * (y - t) * (y - t)); }
  static float gradient(float y, float t) { return 3.F * (y - t) * std::fabs(y - t); }
};

}  // namespace

TEST_CASE("l1, smooth_l1, huber: gradients", "[loss]") {
  check_loss<l1>();
  for (const double beta : {0.0, 0.25, 1.0, 3.0}) {
    CAPTURE(beta);
    check_loss(smooth_l1{.beta = beta});
  }
  for (const double delta : {0.25, 1.0, 3.0}) {
    CAPTURE(delta);
    check_loss(huber{.delta = delta});
  }
}

TEST_CASE("binary_cross_entropy_with_logits: gradients with every kind of weight", "[loss]") {
  const settings s{.lowest_target = 0, .highest_target = 1};
  check_loss(binary_cross_entropy_with_logits{}, s);
  check_loss(binary_cross_entropy_with_logits{.pos_weight = {2.5F}}, s);
  std::vector<float> weights;
  for (int i = 0; i < 21; ++i) weights.push_back(static_cast<float>(i % 6) * 0.5F);
  check_gradients<row<binary_cross_entropy_with_logits>>({.pos_weight = weights}, s);
  weights.resize(12);
  check_gradients<picture<binary_cross_entropy_with_logits>>({.pos_weight = weights}, s);
}

TEST_CASE("kullback_leibler: gradients with every option", "[loss]") {
  for (const bool mean_of_elements : {false, true}) {
    CAPTURE(mean_of_elements);
    check_loss(kullback_leibler{.mean_of_elements = mean_of_elements}, {.lowest_target = 0});
    check_loss(kullback_leibler{.log_target = true, .mean_of_elements = mean_of_elements},
               {.lowest_target = -5, .highest_target = 0});
  }
}

TEST_CASE("negative_log_likelihood: gradients with every option", "[loss]") {
  using classes = ls::model<ls::sequential<linear<4>>, input<5>, negative_log_likelihood>;
  for (const bool weighted : {false, true})
    for (const std::int64_t ignored : {std::int64_t{-100}, std::int64_t{1}}) {
      CAPTURE(weighted, ignored);
      check_gradients<classes>(
          {.class_weights = weighted ? std::vector<float>{0.5F, 2.F, 0.F, 1.25F} : std::vector<float>{},
           .ignore_index = ignored},
          {.samples = 6});
    }
  // Three rows a sample.
  using rows = ls::model<ls::sequential<linear<4>>, input<3, 5>, negative_log_likelihood>;
  check_gradients<rows>({.class_weights = {0.5F, 2.F, 0.F, 1.25F}, .ignore_index = 1}, {.samples = 2});
}

TEST_CASE("element_loss: a user's own functions", "[loss]") {
  check_loss<ls::element_loss<pinball>>();
  check_loss<ls::element_loss<log_cosh>>({.function = {.width = 0.5}});
  const measured third = measure<ls::cpu>(ls::element_loss<cubic>{}, 1.5, -0.5);
  CHECK(third.value == 8);
  CHECK(third.gradient == 12);
}

TEST_CASE("losses of large outputs neither overflow nor lose what is small", "[loss]") {
  using exact = oracle;
  const binary_cross_entropy_with_logits bce;
  for (const double x : {800.0, 1e4, 1e300}) {
    check_measured(measure<exact>(bce, x, 0), x, 1);
    check_measured(measure<exact>(bce, -x, 1), x, -1);
    check_measured(measure<exact>(bce, x, 0.25), 0.75 * x, 0.75);
    check_measured(measure<exact>(binary_cross_entropy_with_logits{.pos_weight = {3}}, -x, 1), 3 * x, -3);
  }
  for (const double x : {40.0, 300.0, 700.0}) {
    check_measured(measure<exact>(bce, -x, 0), std::exp(-x), std::exp(-x));
    check_measured(measure<exact>(bce, x, 1), std::exp(-x), -std::exp(-x));
  }
  check_measured(measure<exact>(bce, 0, 0.5), std::log(2.0), 0);
  for (const double x : {90.0, 1e4, 1e38}) {
    check_measured(measure<ls::cpu>(bce, x, 0), static_cast<float>(x), 1, 1e-7);
    check_measured(measure<ls::cpu>(bce, -x, 1), static_cast<float>(x), -1, 1e-7);
  }
  for (const double x : {1.0, 20.0, 80.0}) {
    const double small = std::log1p(std::exp(-x));
    check_measured(measure<ls::cpu>(bce, -x, 0), small, 1 / (1 + std::exp(x)), 1e-6);
    check_measured(measure<ls::cpu>(bce, x, 1), small, -1 / (1 + std::exp(x)), 1e-6);
  }
  check_measured(measure<exact>(huber{.delta = 2}, 1e200, 0), 2e200, 2);
  check_measured(measure<exact>(smooth_l1{.beta = 2}, -1e200, 0), 1e200, -1);
  check_measured(measure<exact>(smooth_l1{.beta = 0}, 1e-200, 0), 1e-200, 1);
  check_measured(measure<ls::cpu>(smooth_l1{.beta = 0}, -1e-30, 0), 1e-30F, -1, 1e-7);
  // A target of zero adds nothing, as small as its logarithm is.
  check_measured(measure<exact>(kullback_leibler{}, -3, 0), 0, 0);
  check_measured(measure<ls::cpu>(kullback_leibler{}, -3, 0), 0, 0);
  check_measured(measure<exact>(kullback_leibler{}, -1e300, 1), 1e300, -1);
  check_measured(measure<exact>(kullback_leibler{.log_target = true}, -3, -1e4), 0, 0);
  check_measured(measure<ls::cpu>(kullback_leibler{.log_target = true}, -3, -1e4), 0, 0);
}

TEMPLATE_TEST_CASE("a NaN goes through the losses, and an infinity as in PyTorch", "[loss]", ls::cpu, oracle) {
  const double nan = std::numeric_limits<double>::quiet_NaN();
  const auto both = [](const measured& m) { return std::isnan(m.value) && std::isnan(m.gradient); };
  CHECK(both(measure<TestType>(smooth_l1{}, nan, 0)));
  CHECK(both(measure<TestType>(huber{}, nan, 0)));
  CHECK(both(measure<TestType>(binary_cross_entropy_with_logits{}, nan, 0)));
  CHECK(both(measure<TestType>(binary_cross_entropy_with_logits{}, nan, 1)));
  CHECK(std::isnan(measure<TestType>(l1{}, nan, 0).value));
  CHECK(measure<TestType>(l1{}, nan, 0).gradient == 0);
  CHECK(std::isnan(measure<TestType>(kullback_leibler{}, nan, 0.5).value));
  CHECK(measure<TestType>(kullback_leibler{}, nan, 0.5).gradient == -0.5);
  for (const double side : {-1.0, 1.0}) {
    const double x = side * infinity;
    CHECK(measure<TestType>(l1{}, x, 0).value == infinity);
    CHECK(measure<TestType>(l1{}, x, 0).gradient == side);
    CHECK(measure<TestType>(smooth_l1{}, x, 0).value == infinity);
    CHECK(measure<TestType>(smooth_l1{}, x, 0).gradient == side);
    CHECK(measure<TestType>(huber{.delta = 2}, x, 0).value == infinity);
    CHECK(measure<TestType>(huber{.delta = 2}, x, 0).gradient == 2 * side);
  }
}

TEST_CASE("losses: what divides the sum", "[loss]") {
  const ls::dims four{4};
  const std::vector<double> t(12, 0.5);
  CHECK(l1::denominator(t.data(), 12, four) == 12);
  CHECK(huber{}.denominator(t.data(), 12, four) == 12);
  CHECK(binary_cross_entropy_with_logits::denominator(t.data(), 12, four) == 12);
  CHECK(kullback_leibler{}.denominator(t.data(), 12, four) == 3);
  CHECK(kullback_leibler{.mean_of_elements = true}.denominator(t.data(), 12, four) == 12);
  CHECK(l1::target_size(ls::dims{4, 2, 3}) == 24);
  const std::vector<std::int64_t> classes{0, 3, -100, 1};
  CHECK(negative_log_likelihood{}.denominator(classes.data(), 4, four) == 3);
  CHECK(negative_log_likelihood{.class_weights = {0.5F, 2.F, 7.F, 1.25F}}.denominator(classes.data(), 4, four) == 3.75);
  CHECK(negative_log_likelihood{.ignore_index = 1}.counted(4, four, classes.data()) == 3);
  CHECK(negative_log_likelihood{.ignore_index = 1}.counted(2, ls::dims{2, 4}, classes.data()) == 3);
  CHECK(negative_log_likelihood::target_size(ls::dims{2, 4}) == 2);
}

TEST_CASE("losses: hits", "[loss]") {
  // Of two outputs a sample, both must be on the right side.
  const std::vector<float> y{1, -1, 2, 0.5F, -3, -0.5F, 0, 4};
  const std::vector<float> t{1, 0, 1, 0, 0, 0.25F, 0, 1};
  CHECK(binary_cross_entropy_with_logits::correct(4, ls::dims{2}, y.data(), t.data()) == 3);
  const std::vector<std::int64_t> classes{0, 0, -100, 1};
  CHECK(negative_log_likelihood{}.correct(4, ls::dims{2}, y.data(), classes.data()) == 3);
}

TEST_CASE("losses: targets out of their domain are named", "[loss]") {
  const ls::dims four{4};
  std::vector<float> t(200, 1.F);
  CHECK_NOTHROW(binary_cross_entropy_with_logits::denominator(t.data(), 200, four));
  t[133] = 1.5F;
  CHECK_THROWS_AS(binary_cross_entropy_with_logits::denominator(t.data(), 200, four), ls::value_error);
  CHECK_THROWS_WITH(binary_cross_entropy_with_logits::denominator(t.data(), 200, four),
                    "lockstep: binary_cross_entropy_with_logits: expected a target in [0, 1], got 1.500000 for element "
                    "1 of sample 33");
  CHECK_NOTHROW(kullback_leibler{}.denominator(t.data(), 200, four));
  for (const float bad : {-0.5F, std::numeric_limits<float>::quiet_NaN()})
    for (const std::size_t at : {std::size_t{0}, std::size_t{63}, std::size_t{64}, std::size_t{199}}) {
      CAPTURE(bad, at);
      std::vector<float> some(200, 0.F);
      some[at] = bad;
      const std::string where = std::to_string(at % 4) + " of sample " + std::to_string(at / 4);
      CHECK_THROWS_WITH(binary_cross_entropy_with_logits::denominator(some.data(), 200, four), Catch::EndsWith(where));
      CHECK_THROWS_WITH(kullback_leibler{}.denominator(some.data(), 200, four), Catch::EndsWith(where));
      CHECK_NOTHROW(kullback_leibler{.log_target = true}.denominator(some.data(), 200, four));
      CHECK_NOTHROW(l1::denominator(some.data(), 200, four));
    }
  const std::vector<std::int64_t> classes{0, 4};
  CHECK_THROWS_WITH(
      negative_log_likelihood{}.denominator(classes.data(), 2, four),
      "lockstep: negative_log_likelihood: expected a target in 0..3 or -100 (ignored), got 4 for sample 1");
}

TEST_CASE("losses: options out of their domain are refused", "[loss]") {
  const ls::dims four{4};
  const double nan = std::numeric_limits<double>::quiet_NaN();
  CHECK_NOTHROW(smooth_l1{.beta = 0}.check_options(four));
  for (const double beta : {-0.5, nan}) CHECK_THROWS_AS(smooth_l1{.beta = beta}.check_options(four), ls::value_error);
  for (const double delta : {-0.5, 0.0, 1e-60, nan})
    CHECK_THROWS_AS(huber{.delta = delta}.check_options(four), ls::value_error);
  const auto refused = [&](const std::vector<float>& weights) {
    CHECK_THROWS_AS(binary_cross_entropy_with_logits{.pos_weight = weights}.check_options(four), ls::value_error);
  };
  refused({1, 2, 3});
  refused({1, 2, 3, 4, 5});
  refused({1, 2, 3, -1});
  refused({std::numeric_limits<float>::quiet_NaN()});
  CHECK_NOTHROW(binary_cross_entropy_with_logits{.pos_weight = {2}}.check_options(four));
  CHECK_NOTHROW(binary_cross_entropy_with_logits{.pos_weight = {2, 0, 1, 3}}.check_options(four));
  CHECK_THROWS_AS(negative_log_likelihood{.class_weights = {1}}.check_options(four), ls::value_error);
  CHECK_THROWS_AS((negative_log_likelihood{.class_weights = {1, 2, 3, -4}}.check_options(four)), ls::value_error);
}
