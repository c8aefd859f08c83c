// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include <lockstep/nn/linear.hpp>

#include <type_traits>

#include <lockstep/nn/activation.hpp>

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

TEST_CASE("linear: more samples than one micro-shard holds") {
  check_gradients<regression<input<7>, linear<5>>>({}, {.samples = 300});
}

TEST_CASE("linear: initialisation bound is 1 over the root of the features, as in PyTorch") {
  CHECK(linear<5>::parameters(ls::dims{7}).items[0].bound == Approx(1 / std::sqrt(7.0)).epsilon(1e-14));
  CHECK(linear<5>::parameters(ls::dims{7}).items[1].bound == Approx(1 / std::sqrt(7.0)).epsilon(1e-14));
  CHECK(linear<5>::parameters(ls::dims{1}).items[0].bound == Approx(1).epsilon(1e-14));
}
