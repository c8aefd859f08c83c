// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include <lockstep/nn/activation.hpp>

#include <lockstep/nn/conv2d.hpp>
#include <lockstep/nn/dropout.hpp>
#include <lockstep/nn/flatten.hpp>
#include <lockstep/nn/linear.hpp>
#include <lockstep/nn/pool2d.hpp>

#include "nn/support.hpp"

namespace {

using namespace lockstep_test;
using ls::avg_pool2d;
using ls::conv2d;
using ls::dropout;
using ls::flatten;
using ls::input;
using ls::linear;
using ls::relu;

static_assert(ls::layer<relu>);
static_assert(ls::layer<dropout<>>);
static_assert(relu::output(ls::dims{3, 4, 5}) == ls::dims{3, 4, 5});
static_assert(relu::parameters(ls::dims{3}).count == 0);

}  // namespace

TEST_CASE("relu that is not fused") {
  check_gradients<regression<input<5>, relu, linear<3>>>();
  check_gradients<regression<input<5>, linear<6>, relu, relu, linear<3>>>();
  check_gradients<regression<input<2, 4, 4>, conv2d<3, 1>, avg_pool2d<2>, relu>>();
  check_gradients<regression<input<2, 4, 4>, conv2d<3, 1>, avg_pool2d<2>, relu, conv2d<2, 1>, relu>>();
  check_gradients<regression<input<2, 3, 4>, conv2d<3, 2>, flatten, relu, linear<3>>>();
  check_gradients<regression<input<2, 3, 4>, relu, conv2d<3, 2>>>();
}

TEST_CASE("dropout: the mask of forward is the mask of backward") {
  check_gradients<regression<input<5>, linear<9>, dropout<0.5>, linear<3>>>();
  check_gradients<regression<input<5>, linear<9>, relu, dropout<0.25>, linear<3>>>();
  check_gradients<regression<input<5>, linear<9>, dropout<0.5>, relu, linear<3>>>();
  check_gradients<regression<input<5>, linear<9>, dropout<>>>();
  check_gradients<regression<input<9>, dropout<0.5>, linear<3>>>();
  check_gradients<regression<input<5>, linear<9>, dropout<0.5>, linear<9>, dropout<0.5>, linear<3>>>();
}

TEST_CASE("dropout in more samples than one micro-shard holds") {
  check_gradients<regression<input<5>, linear<9>, dropout<0.5>, linear<3>>>({}, {.samples = 300});
}

TEST_CASE("dropout of nothing and of everything") {
  check_gradients<regression<input<5>, linear<6>, dropout<0.0>, linear<3>>>();
  check_gradients<regression<input<5>, linear<6>, dropout<1.0>, linear<3>>>();
}

TEST_CASE("dropout of pictures") {
  check_gradients<regression<input<2, 3, 4>, conv2d<3, 2>, dropout<0.5>, conv2d<2, 1>>>();
}

TEST_CASE("a layer's dropout mask is the same on every backend, whatever changes of order its plan holds") {
  check_gradients<regression<input<2, 4, 4>, conv2d<2, 1>, flatten, linear<9>, dropout<0.5>, linear<3>>>();
}

TEST_CASE("dropout draws anew for another step and is the identity without training") {
  using model = regression<input<5>, linear<9>, dropout<0.5>>;
  using plain = regression<input<5>, linear<9>>;
  const settings s;
  settings later = s;
  later.now.step = 3;
  const doubles parameters = uniform(model::parameter_count, 1);
  const doubles x = uniform(s.samples * 5, 2);
  const doubles targets = uniform(s.samples * 9, 3);
  runner<model, oracle> now({}, x, targets, s);
  runner<model, oracle> then({}, x, targets, later);
  runner<plain, oracle> without({}, x, targets, s);
  doubles g(parameters.size());
  doubles h(parameters.size());
  CHECK(now.train(parameters, g, false) != then.train(parameters, h, false));
  CHECK(g != h);
  CHECK(now.forward(parameters) == without.forward(parameters));
}
