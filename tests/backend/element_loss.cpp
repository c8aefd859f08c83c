// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include <lockstep/backend/element_loss.hpp>

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <string_view>
#include <type_traits>
#include <vector>

#include <lockstep/backend/capabilities.hpp>
#include <lockstep/backend/element_exponential.hpp>

#include "backend/support.hpp"

// What element_loss and negative_log_likelihood compute, against loops in double precision that are written here.

namespace {

using namespace lockstep_test;

/// Of numbers alone.
struct cubic_rule {
  template <class T>
  LOCKSTEP_HOST_DEVICE constexpr void operator()(const T& y, const T& t, T& value, T& gradient) const {
    const T d = y - t;
    value = d * d * d;
    gradient = 3 * d * d;
  }
};
double cubic(double y, double t, double) { return (y - t) * (y - t) * (y - t); }
double cubic_gradient(double y, double t, double) { return 3 * (y - t) * (y - t); }

/// Of vectors too, with a weight, and with a function of the library.
struct weighted_exponential_rule {
  static constexpr bool takes_vectors = true;
  static constexpr bool takes_weights = true;

  template <class V>
  LOCKSTEP_ALWAYS_INLINE constexpr void operator()(const V& y, const V& t, const V& weight, V& value,
                                                   V& gradient) const {
    V power = y;
    ls::detail::take_exponential(power);
    value = weight * power - t;
    gradient = weight * power;
  }
};
double weighted_exponential(double y, double t, double w) { return w * std::exp(y) - t; }
double weighted_exponential_gradient(double y, double, double w) { return w * std::exp(y); }

/// The same, of numbers alone.
struct weighted_number_rule {
  static constexpr bool takes_weights = true;

  template <class T>
  LOCKSTEP_HOST_DEVICE constexpr void operator()(const T& y, const T& t, const T& weight, T& value, T& gradient) const {
    value = weight * (y - t);
    gradient = weight;
  }
};
double weighted_number(double y, double t, double w) { return w * (y - t); }
double weighted_number_gradient(double, double, double w) { return w; }

double square(double y, double t, double) { return (y - t) * (y - t); }
double square_gradient(double y, double t, double) { return 2 * (y - t); }

using function = double (*)(double y, double t, double weight);

/// Sum and gradients of a rule against those of a function.
template <class B, class Rule>
void check_rule(typename B::context& c, const Rule& rule, function value, function gradient, std::int64_t samples,
                std::int64_t size, double scale) {
  using number = typename B::value_type;
  CAPTURE(B::name, samples, size, scale);
  const std::int64_t n = samples * size;
  const doubles y = held<B>(uniform(n, 1));
  const doubles t = uniform(n, 2);
  const doubles w = uniform(size, 3, 0, 2);
  double want = 0;
  double magnitude = 0;
  doubles want_gradients;
  for (std::size_t i = 0; i < y.size(); ++i) {
    const double weight = w[i % w.size()];
    want += value(y[i], t[i], weight);
    magnitude += std::abs(value(y[i], t[i], weight));
    want_gradients.push_back(scale * gradient(y[i], t[i], weight));
  }
  array<B> py(y);
  array<B, number> pt(t);
  array<B, number> pw(w);
  array<B> dy(filled(n, poison));
  stored<B, ls::step_values> now({.scale = scale});
  const number* const weights = ls::takes_weights<Rule> ? pw.data() : nullptr;
  const double sum = added_loss<B>([&](double* to) {
    B::element_loss(c, samples, size, rule, weights, py.data(), pt.data(), dy.data(), now.get(), to);
  });
  // The values are rounded, their sum is not.
  CHECK(std::abs(sum - want) <= tolerance<number>(4) * magnitude);
  check_close(dy.read(), want_gradients, 8 * scale * tolerance<number>(4), rounding<B>);
  CHECK(added_loss<B>([&](double* to) {
          B::element_loss(c, samples, size, rule, weights, py.data(), pt.data(),
                          static_cast<decltype(dy.data())>(nullptr), nullptr, to);
        }) == sum);
  check_close(py.read(), y, 0);
  check_close(pt.read(), t, 0);
  check_close(pw.read(), w, 0);
}

}  // namespace

TEMPLATE_LIST_TEST_CASE("element_loss: sums and gradients of a rule", "[loss]", pass_backends) {
  STATIC_REQUIRE(ls::measures_elements<TestType>);
  entered<TestType> e;
  // A vector and less, several, a block of elements and more, and rows of all these.
  for (const std::int64_t samples : {1, 2, 3, 70})
    for (const std::int64_t size : {1, 5, 8, 16, 31, 128, 129, 255, 256, 257, 700})
      for (const double scale : {1.0, 0.125}) {
        check_rule<TestType>(e.context, ls::squared_difference_rule{}, square, square_gradient, samples, size, scale);
        check_rule<TestType>(e.context, cubic_rule{}, cubic, cubic_gradient, samples, size, scale);
        check_rule<TestType>(e.context, weighted_exponential_rule{}, weighted_exponential,
                             weighted_exponential_gradient, samples, size, scale);
        check_rule<TestType>(e.context, weighted_number_rule{}, weighted_number, weighted_number_gradient, samples,
                             size, scale);
      }
  check_rule<TestType>(e.context, ls::squared_difference_rule{}, square, square_gradient, 3, 300'000, 0.5);
}

TEMPLATE_LIST_TEST_CASE("element_loss: no samples add nothing", "[loss]", pass_backends) {
  entered<TestType> e;
  check_rule<TestType>(e.context, ls::squared_difference_rule{}, square, square_gradient, 0, 4, 1);
  check_rule<TestType>(e.context, weighted_number_rule{}, weighted_number, weighted_number_gradient, 0, 4, 1);
}

// What follows the first value would be lost beside it, and the odd sum rounded, in float.
TEMPLATE_LIST_TEST_CASE("element_loss: sums are taken in double precision", "[loss]", pass_backends) {
  using number = typename TestType::value_type;
  entered<TestType> e;
  const std::int64_t n = 4098;
  const auto sum_of = [&](const auto& rule, double first) {
    doubles values = filled(n, 1);
    values.front() = first;
    array<TestType> y(values);
    array<TestType, number> t(filled(n, 0));
    return added_loss<TestType>([&](double* to) {
      TestType::element_loss(e.context, 1, n, rule, nullptr, y.data(), t.data(),
                             static_cast<decltype(y.data())>(nullptr), nullptr, to);
    });
  };
  CHECK(sum_of(ls::squared_difference_rule{}, 4096) == 0x1p24 + 4097);
  CHECK(sum_of(cubic_rule{}, 256) == 0x1p24 + 4097);
}

TEMPLATE_LIST_TEST_CASE("negative_log_likelihood takes what stands at the targets", "[loss]", pass_backends) {
  STATIC_REQUIRE(ls::measures_classes<TestType>);
  entered<TestType> e;
  for (const std::int64_t rows : {1, 5, 300})
    for (const std::int64_t classes : {1, 3, 40})
      for (const bool weighted : {false, true}) {
        CAPTURE(rows, classes, weighted);
        constexpr double scale = 0.25;
        const doubles y = held<TestType>(uniform(rows * classes, 5, -9, 0));
        const doubles w = uniform(classes, 6, 0, 2);
        doubles targets;
        doubles want_gradients = filled(rows * classes, 0);
        double want = 0;
        for (std::int64_t r = 0; r < rows; ++r) {
          const std::int64_t target = r % 4 == 3 ? -7 : (5 * r + 1) % classes;
          targets.push_back(static_cast<double>(target));
          if (target < 0) continue;
          const double weight = weighted ? w[static_cast<std::size_t>(target)] : 1;
          const auto at = static_cast<std::size_t>(r * classes + target);
          want -= weight * y[at];
          want_gradients[at] = -weight * scale;
        }
        array<TestType> py(y);
        array<TestType, std::int64_t> pt(targets);
        array<TestType, float> pw(w);
        array<TestType> dy(filled(rows * classes, poison));
        stored<TestType, ls::step_values> now({.scale = scale});
        const ls::cross_entropy_arguments a{
            .classes = classes, .class_weights = weighted ? pw.data() : nullptr, .ignore_index = -7};
        const double sum = added_loss<TestType>([&](double* to) {
          TestType::negative_log_likelihood(e.context, rows, a, py.data(), pt.data(), dy.data(), now.get(), to);
        });
        CHECK(sum == Approx(want).epsilon(1e-12));
        check_close(dy.read(), want_gradients, 1e-7, rounding<TestType>);
        CHECK(added_loss<TestType>([&](double* to) {
                TestType::negative_log_likelihood(e.context, rows, a, py.data(), pt.data(),
                                                  static_cast<decltype(dy.data())>(nullptr), nullptr, to);
              }) == sum);
      }
}
