// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include <lockstep/nn/activation/softmax.hpp>

#include <lockstep/nn/activation.hpp>
#include <lockstep/nn/conv2d.hpp>
#include <lockstep/nn/dropout.hpp>
#include <lockstep/nn/flatten.hpp>
#include <lockstep/nn/linear.hpp>
#include <lockstep/nn/pool2d.hpp>

#include "nn/support.hpp"

namespace {

using namespace lockstep_test;
using ls::conv2d;
using ls::dims;
using ls::input;
using ls::linear;

static_assert(ls::layer<ls::softmax>);
static_assert(ls::layer<ls::log_softmax>);
static_assert(ls::softmax::output(dims{3, 4}) == dims{3, 4});
static_assert(ls::layer<ls::dropout2d<>>);

template <class Layer>
void check_layer() {
  INFO(Layer::kind);
  check_gradients<regression<input<5>, linear<19>, Layer>>();
  check_gradients<regression<input<5>, Layer, linear<3>>>();
  check_gradients<regression<input<2, 4, 4>, conv2d<3, 2>, Layer, conv2d<2, 1>>>();
  check_gradients<regression<input<2, 3, 4>, Layer, ls::flatten, linear<2>>>();
  check_gradients<regression<input<2, 3, 3>, conv2d<3, 1>, ls::flatten, Layer, linear<2>>>();
  check_gradients<regression<input<3, 4>, Layer, ls::flatten, linear<2>>>();
}

}  // namespace

TEST_CASE("gradients of softmax") { check_layer<ls::softmax>(); }
TEST_CASE("gradients of log_softmax") { check_layer<ls::log_softmax>(); }

TEST_CASE("dropout2d: the mask of forward is the mask of backward") {
  check_gradients<regression<input<2, 3, 4>, conv2d<5, 2>, ls::dropout2d<0.5>, conv2d<2, 1>>>();
  check_gradients<regression<input<2, 3, 4>, conv2d<5, 2>, ls::relu, ls::dropout2d<0.25>, ls::flatten, linear<2>>>();
  check_gradients<regression<input<5, 3, 4>, ls::dropout2d<>, conv2d<2, 2>>>();
  check_gradients<regression<input<2, 3, 3>, conv2d<4, 3>, ls::dropout2d<0.5>, ls::flatten, linear<2>>>();
}
