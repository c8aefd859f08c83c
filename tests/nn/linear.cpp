// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include <lockstep/nn/linear.hpp>

#include <type_traits>

#include <lockstep/nn/activation.hpp>
#include <lockstep/nn/flatten.hpp>

#include "nn/support.hpp"

namespace {

using namespace lockstep_test;
using ls::input;
using ls::linear;
using ls::linear_without_bias;
using ls::relu;

static_assert(ls::layer<linear<5>>);
static_assert(linear<5>::output(ls::dims{7}) == ls::dims{5});
static_assert(linear<5>::parameters(ls::dims{7}).size() == 40);
static_assert(linear_without_bias<5>::parameters(ls::dims{7}).size() == 35);
static_assert(linear<5>::parameters(ls::dims{7}).items[0].shape == ls::dims{5, 7});
static_assert(linear<5>::parameters(ls::dims{7}).items[1].shape == ls::dims{5});
static_assert(linear<5>::flops(ls::dims{7}) == 70);
static_assert(linear<5>::output(ls::dims{3, 7}) == ls::dims{3, 5});
static_assert(linear<5>::parameters(ls::dims{3, 7}).items[0].shape == ls::dims{5, 7});
static_assert(linear<5>::flops(ls::dims{3, 7}) == 3 * 70);

}  // namespace

TEST_CASE("linear: gradients of its parameters") {
  check_gradients<regression<input<7>, linear<5>>>();
  check_gradients<regression<input<7>, linear<7, 5>>>();
  check_gradients<regression<input<7>, linear_without_bias<5>>>();
  check_gradients<regression<input<7>, linear_without_bias<7, 5>>>();
  check_gradients<regression<input<1>, linear<1>>>({}, {.samples = 1});
}

TEST_CASE("linear: gradients of its input") {
  check_gradients<regression<input<5>, linear<6>, linear<4>>>();
  check_gradients<regression<input<5>, linear_without_bias<6>, linear_without_bias<4>, linear<3>>>({}, {.samples = 5});
}

TEST_CASE("linear: a relu fused into it, its mask applied by the next layer or by itself") {
  check_gradients<regression<input<5>, linear<6>, relu, linear<4>>>({}, {.samples = 4});
  check_gradients<regression<input<5>, linear_without_bias<6>, relu, linear_without_bias<4>>>();
  check_gradients<regression<input<5>, linear<6>, relu>>();
  check_gradients<regression<input<5>, linear<6>, relu, linear<6>, relu>>();
}

TEST_CASE("linear: wide outputs, fused and not") {
  check_gradients<regression<input<9>, linear<20>, relu, linear<18>, linear<3>>>({}, {.samples = 5});
  check_gradients<regression<input<3>, linear_without_bias<17>, relu>>();
}

TEST_CASE("linear: rows of a sample") {
  check_gradients<regression<input<4, 7>, linear<5>, relu, linear<5, 3>>>({}, {.samples = 5});
  // Narrow, wide and in between; a relu whose mask the next layer applies, and one that stands last.
  check_gradients<regression<input<3, 6>, linear<20>, relu, linear_without_bias<32>, linear<18>, relu>>();
  check_gradients<regression<input<1, 7>, linear<5>>>({}, {.samples = 1});
  check_gradients<regression<input<3, 4>, linear<6>, relu, ls::flatten, linear<2>>>();
  // A target for each row.
  using classifier = ls::model<ls::sequential<linear<6>, relu, linear<3>>, input<4, 5>, ls::cross_entropy>;
  check_gradients<classifier>({.class_weights = {1, 0.5F, 2}, .label_smoothing = 0.1F, .ignore_index = 1},
                              {.samples = 5});
}

TEST_CASE("linear: rows of a sample are computed as samples are") {
  using rows = regression<input<4, 7>, linear<24>, relu, linear<5>>;
  using samples = regression<input<7>, linear<24>, relu, linear<5>>;
  const doubles parameters = uniform(rows::parameter_count, 1);
  const doubles x = uniform(3 * 4 * 7, 2);
  const doubles targets = uniform(3 * 4 * 5, 3);
  const auto check = [&]<class B>(std::type_identity<B>) {
    runner<rows, B> of_rows({}, x, targets, {.samples = 3});
    runner<samples, B> of_samples({}, x, targets, {.samples = 12});
    CHECK(of_rows.forward(parameters) == of_samples.forward(parameters));
    doubles given(parameters.size());
    doubles expected(parameters.size());
    CHECK(of_rows.train(parameters, given, false) == of_samples.train(parameters, expected, false));
    CHECK(given == expected);
  };
  check(std::type_identity<oracle>{});
  check(std::type_identity<ls::cpu>{});
}

TEST_CASE("linear: more samples than one micro-shard holds") {
  check_gradients<regression<input<7>, linear<5>>>({}, {.samples = 300});
}

TEST_CASE("linear: initialisation bound is 1 over the root of the features, as in PyTorch") {
  CHECK(linear<5>::parameters(ls::dims{7}).items[0].bound == Approx(1 / std::sqrt(7.0)).epsilon(1e-14));
  CHECK(linear<5>::parameters(ls::dims{7}).items[1].bound == Approx(1 / std::sqrt(7.0)).epsilon(1e-14));
  CHECK(linear<5>::parameters(ls::dims{1}).items[0].bound == Approx(1).epsilon(1e-14));
}
