// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "backend/support.hpp"

namespace {

using namespace lockstep_test;

std::vector<std::int64_t> targets(std::int64_t rows, std::int64_t classes, std::int64_t ignored) {
  std::vector<std::int64_t> all;
  for (std::int64_t r = 0; r < rows; ++r) all.push_back(r % 4 == 3 ? ignored : (r * 7 + 1) % classes);
  return all;
}

/// Loss and gradient of one call against the oracle, and the loss of a call without a gradient.
template <class B>
void check_cross_entropy(typename B::context& c, std::int64_t rows, const ls::cross_entropy_arguments& a,
                         const doubles& logits, const std::vector<std::int64_t>& t) {
  CAPTURE(B::name, rows, a.classes, a.label_smoothing, a.ignore_index, a.scale, a.class_weights != nullptr);
  oracle::context oc;
  doubles want(logits.size(), poison);
  const double want_loss = oracle::softmax_cross_entropy(oc, rows, a, logits.data(), t.data(), want.data());
  REQUIRE(std::isfinite(want_loss));

  array<B> x(logits);
  array<B> dx(filled(static_cast<std::int64_t>(logits.size()), poison));
  const double loss = B::softmax_cross_entropy(c, rows, a, x.data(), t.data(), dx.data());
  const double allowed = tolerance<typename B::value_type>(a.classes);
  CHECK(loss == Approx(want_loss).epsilon(allowed).margin(allowed * static_cast<double>(rows)));
  check_close(dx.read(), want, allowed * std::abs(a.scale));
  CHECK(B::softmax_cross_entropy(c, rows, a, x.data(), t.data(), nullptr) == loss);
  check_close(x.read(), logits, 0);
}

}  // namespace

TEMPLATE_LIST_TEST_CASE("cross entropy with every option", "[loss]", backends) {
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
                                                  .ignore_index = ignored,
                                                  .scale = scale};
              check_cross_entropy<TestType>(e.context, rows, a, uniform(rows * classes, 1, -4, 4),
                                            targets(rows, classes, ignored));
            }
  }
}

TEMPLATE_LIST_TEST_CASE("cross entropy of one class is zero", "[loss]", backends) {
  entered<TestType> e;
  const std::vector<std::int64_t> t{0, 0};
  array<TestType> x({3, -5});
  array<TestType> dx({poison, poison});
  CHECK(TestType::softmax_cross_entropy(e.context, 2, {.classes = 1}, x.data(), t.data(), dx.data()) == 0);
  check_close(dx.read(), {0, 0}, 0);
}

TEMPLATE_LIST_TEST_CASE("cross entropy of large logits does not overflow", "[loss]", backends) {
  entered<TestType> e;
  const std::vector<std::int64_t> t{0, 1, 2};
  const doubles x{1e4, 0, -1e4, 1e4, 1e4, 1e4, -1e4, -1e4, -1e4 + 1};
  check_cross_entropy<TestType>(e.context, 3, {.classes = 3}, x, t);
  check_cross_entropy<TestType>(e.context, 3, {.classes = 3, .label_smoothing = 0.25F}, x, t);

  // The wrong class wins by 2e4: the loss is the difference itself.
  const std::vector<std::int64_t> wrong{2};
  array<TestType> px({1e4, 0, -1e4});
  array<TestType> dx({poison, poison, poison});
  CHECK(TestType::softmax_cross_entropy(e.context, 1, {.classes = 3}, px.data(), wrong.data(), dx.data()) == 2e4);
  check_close(dx.read(), {1, 0, -1}, 0);
}

TEMPLATE_LIST_TEST_CASE("ignored rows add nothing and have gradient zero", "[loss]", backends) {
  entered<TestType> e;
  const std::vector<std::int64_t> t{-1, -1};
  array<TestType> x(uniform(6, 1));
  array<TestType> dx(filled(6, poison));
  const ls::cross_entropy_arguments a{.classes = 3, .label_smoothing = 0.5F, .ignore_index = -1};
  CHECK(TestType::softmax_cross_entropy(e.context, 2, a, x.data(), t.data(), dx.data()) == 0);
  check_close(dx.read(), filled(6, 0), 0);
}

TEMPLATE_LIST_TEST_CASE("squared error", "[loss]", backends) {
  using B = TestType;
  using value = typename B::value_type;
  entered<B> e;
  for (const std::int64_t n : {1, 7, 64, 65, 1000})
    for (const double scale : {1.0, 0.125}) {
      CAPTURE(B::name, n, scale);
      const doubles y = uniform(n, 1);
      const doubles t = uniform(n, 2);
      oracle::context oc;
      doubles want(y.size(), poison);
      const double want_loss = oracle::squared_error(oc, n, scale, y.data(), t.data(), want.data());
      array<B> py(y);
      array<B> pt(t);
      array<B> dy(filled(n, poison));
      const double loss = B::squared_error(e.context, n, scale, py.data(), pt.data(), dy.data());
      CHECK(loss == Approx(want_loss).epsilon(tolerance<value>(n)));
      check_close(dy.read(), want, 4 * scale * tolerance<value>(1));
      CHECK(B::squared_error(e.context, n, scale, py.data(), pt.data(), nullptr) == loss);
    }
}
