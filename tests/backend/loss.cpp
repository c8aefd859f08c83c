// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <utility>
#include <vector>

#include "backend/support.hpp"

namespace {

using namespace lockstep_test;

std::vector<std::int64_t> targets(std::int64_t rows, std::int64_t classes, std::int64_t ignored) {
  std::vector<std::int64_t> all;
  for (std::int64_t r = 0; r < rows; ++r) all.push_back(r % 4 == 3 ? ignored : (r * 7 + 1) % classes);
  return all;
}

/// Rows of logits and their targets in the backend's memory.
template <class B>
struct cross_entropy_case {
  cross_entropy_case(const ls::cross_entropy_arguments& arguments, const doubles& values,
                     const std::vector<std::int64_t>& classes)
      : a(arguments),
        rows(static_cast<std::int64_t>(classes.size())),
        logits(values),
        t(doubles(classes.begin(), classes.end())),
        weights(a.class_weights == nullptr ? doubles{} : doubles(a.class_weights, a.class_weights + a.classes)),
        dlogits(filled(static_cast<std::int64_t>(values.size()), poison)) {
    if (a.class_weights != nullptr) a.class_weights = weights.data();
  }

  /// The loss; the gradient, times `scale`, lies in dlogits.
  double loss(typename B::context& c, double scale) {
    stored<B, ls::step_values> now({.scale = scale});
    return added_loss<B>([&](double* sum) {
      B::softmax_cross_entropy(c, rows, a, logits.data(), t.data(), dlogits.data(), now.get(), sum);
    });
  }
  double loss_alone(typename B::context& c) {
    return added_loss<B>(
        [&](double* sum) { B::softmax_cross_entropy(c, rows, a, logits.data(), t.data(), nullptr, nullptr, sum); });
  }

  ls::cross_entropy_arguments a;
  std::int64_t rows;
  array<B> logits;
  array<B, std::int64_t> t;
  array<B, float> weights;
  array<B> dlogits;
};

/// Loss and gradient of one call against the oracle, and the loss of a call without a gradient. `a.class_weights` are
/// the host's.
template <class B>
void check_cross_entropy(typename B::context& c, const ls::cross_entropy_arguments& a, double scale,
                         const doubles& values, const std::vector<std::int64_t>& t) {
  const doubles logits = held<B>(values);
  const auto rows = static_cast<std::int64_t>(t.size());
  CAPTURE(B::name, rows, a.classes, a.label_smoothing, a.ignore_index, scale, a.class_weights != nullptr);
  oracle::context oc;
  const ls::step_values now{.scale = scale};
  doubles want(logits.size(), poison);
  double want_loss = 0;
  oracle::softmax_cross_entropy(oc, rows, a, logits.data(), t.data(), want.data(), &now, &want_loss);
  REQUIRE(std::isfinite(want_loss));

  cross_entropy_case<B> tested(a, logits, t);
  const double loss = tested.loss(c, scale);
  const double allowed = tolerance<typename B::value_type>(a.classes);
  CHECK(loss == Approx(want_loss).epsilon(allowed).margin(allowed * static_cast<double>(rows)));
  check_close(tested.dlogits.read(), want, allowed * std::abs(scale), rounding<B>);
  CHECK(tested.loss_alone(c) == loss);
  // What is only read stays as it was.
  check_close(tested.logits.read(), logits, 0);
  check_close(tested.t.read(), doubles(t.begin(), t.end()), 0);
}

}  // namespace

TEMPLATE_LIST_TEST_CASE("cross entropy with every option", "[loss]", pass_backends) {
  entered<TestType> e;
  for (const std::int64_t classes : {2, 10, 65}) {
    std::vector<float> weights;
    for (std::int64_t k = 0; k < classes; ++k) weights.push_back(static_cast<float>(k % 5) * 0.25F);
    for (const std::int64_t rows : {1, 3, 8})
      for (const float smoothing : {0.F, 0.1F, 1.F})
        for (const bool weighted : {false, true})
          for (const std::int64_t ignored : {std::int64_t{-100}, std::int64_t{1}})
            for (const double scale : {1.0, 0.125}) {
              const ls::cross_entropy_arguments a{.classes = classes,
                                                  .class_weights = weighted ? weights.data() : nullptr,
                                                  .label_smoothing = smoothing,
                                                  .ignore_index = ignored};
              check_cross_entropy<TestType>(e.context, a, scale, uniform(rows * classes, 1, -4, 4),
                                            targets(rows, classes, ignored));
            }
  }
}

// A backend may give a row to a group of threads, or several rows to one.
TEMPLATE_LIST_TEST_CASE("cross entropy of many rows and of many classes", "[loss]", pass_backends) {
  entered<TestType> e;
  for (const auto& [rows, classes] : {std::pair<std::int64_t, std::int64_t>{3000, 10},
                                      {64, 10},
                                      {65, 10},
                                      {9, 16},
                                      {40, 19},
                                      {700, 33},
                                      {300, 256},
                                      {5, 2500}})
    for (const float smoothing : {0.F, 0.1F})
      check_cross_entropy<TestType>(e.context, {.classes = classes, .label_smoothing = smoothing}, 0.5,
                                    uniform(rows * classes, 1, -4, 4), targets(rows, classes, -100));
  const std::vector<float> weights(33, 0.5F);
  check_cross_entropy<TestType>(e.context, {.classes = 33, .class_weights = weights.data()}, 0.5,
                                uniform(70 * 33, 1, -4, 4), targets(70, 33, -100));
}

TEMPLATE_LIST_TEST_CASE("cross entropy of a logit that is NaN is NaN, and so is its row's gradient", "[loss]",
                        pass_backends) {
  entered<TestType> e;
  for (const std::int64_t classes : {10, 40}) {
    doubles logits = uniform(2 * classes, 1, -4, 4);
    logits[static_cast<std::size_t>(classes + 7)] = std::nan("");
    cross_entropy_case<TestType> all({.classes = classes}, logits, {1, 2});
    stored<TestType, ls::step_values> now({.scale = 0.5});
    array<TestType, double> sum({0.0});
    TestType::softmax_cross_entropy(e.context, 2, all.a, all.logits.data(), all.t.data(), all.dlogits.data(), now.get(),
                                    sum.data());
    CHECK(std::isnan(sum.read()[0]));
    const doubles gradient = all.dlogits.read();
    CHECK(std::isfinite(gradient[0]));
    CHECK(std::isnan(gradient[static_cast<std::size_t>(classes)]));
    CHECK(std::isnan(gradient[static_cast<std::size_t>(classes + 2)]));
  }
}

TEMPLATE_LIST_TEST_CASE("cross entropy of one class is zero", "[loss]", pass_backends) {
  entered<TestType> e;
  cross_entropy_case<TestType> one({.classes = 1}, {3, -5}, {0, 0});
  CHECK(one.loss(e.context, 1) == 0);
  check_close(one.dlogits.read(), {0, 0}, 0);
}

TEMPLATE_LIST_TEST_CASE("cross entropy of large logits does not overflow", "[loss]", pass_backends) {
  entered<TestType> e;
  const doubles x{1e4, 0, -1e4, 1e4, 1e4, 1e4, -1e4, -1e4, -1e4 + 1};
  check_cross_entropy<TestType>(e.context, {.classes = 3}, 1, x, {0, 1, 2});
  check_cross_entropy<TestType>(e.context, {.classes = 3, .label_smoothing = 0.25F}, 1, x, {0, 1, 2});

  // The wrong class wins by 2e4: the loss is the difference itself.
  const doubles far = held<TestType>({1e4, 0, -1e4});
  cross_entropy_case<TestType> wrong({.classes = 3}, far, {2});
  CHECK(wrong.loss(e.context, 1) == far[0] - far[2]);
  check_close(wrong.dlogits.read(), {1, 0, -1}, 0);
}

TEMPLATE_LIST_TEST_CASE("ignored rows add nothing and have gradient zero", "[loss]", pass_backends) {
  entered<TestType> e;
  cross_entropy_case<TestType> ignored({.classes = 3, .label_smoothing = 0.5F, .ignore_index = -1}, uniform(6, 1),
                                       {-1, -1});
  CHECK(ignored.loss(e.context, 1) == 0);
  check_close(ignored.dlogits.read(), filled(6, 0), 0);
}

TEMPLATE_LIST_TEST_CASE("squared error", "[loss]", pass_backends) {
  using B = TestType;
  using value = typename B::value_type;
  entered<B> e;
  for (const std::int64_t n : {1, 7, 64, 65, 1000, 70000})
    for (const double scale : {1.0, 0.125}) {
      CAPTURE(B::name, n, scale);
      const doubles y = held<B>(uniform(n, 1));
      const doubles t = uniform(n, 2);
      oracle::context oc;
      const ls::step_values now{.scale = scale};
      doubles want(y.size(), poison);
      double want_loss = 0;
      oracle::squared_error(oc, n, y.data(), t.data(), want.data(), &now, &want_loss);
      array<B> py(y);
      array<B, value> pt(t);
      array<B> dy(filled(n, poison));
      stored<B, ls::step_values> own_now(now);
      const double loss = added_loss<B>(
          [&](double* sum) { B::squared_error(e.context, n, py.data(), pt.data(), dy.data(), own_now.get(), sum); });
      // The squares of rounded differences, added in double precision.
      CHECK(loss == Approx(want_loss).epsilon(tolerance<value>(1)));
      check_close(dy.read(), want, 4 * scale * tolerance<value>(1), rounding<B>);
      CHECK(added_loss<B>([&](double* sum) {
              B::squared_error(e.context, n, py.data(), pt.data(), nullptr, nullptr, sum);
            }) == loss);
      check_close(py.read(), y, 0);
      check_close(pt.read(), t, 0);
    }
}
