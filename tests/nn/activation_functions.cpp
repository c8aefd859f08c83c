// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include <lockstep/nn/activation/elu.hpp>
#include <lockstep/nn/activation/gelu.hpp>
#include <lockstep/nn/activation/leaky_relu.hpp>
#include <lockstep/nn/activation/sigmoid.hpp>
#include <lockstep/nn/activation/silu.hpp>
#include <lockstep/nn/activation/softplus.hpp>
#include <lockstep/nn/activation/tanh.hpp>

#include <lockstep/nn/activation.hpp>
#include <lockstep/nn/conv2d.hpp>
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

static_assert(ls::layer<ls::gelu<>>);
static_assert(ls::layer<ls::tanh>);
static_assert(ls::gelu<>::output(dims{3, 4, 5}) == dims{3, 4, 5});
static_assert(ls::gelu<>::parameters(dims{3}).count == 0);

// What backward does not read need not be kept until then.
template <class Layer>
constexpr bool reads_output = Layer::traits.backward_reads_output && !Layer::traits.backward_reads_input;
template <class Layer>
constexpr bool reads_input = Layer::traits.backward_reads_input && !Layer::traits.backward_reads_output;
static_assert(reads_output<ls::sigmoid> && reads_output<ls::tanh> && reads_output<ls::elu<>>);
static_assert(reads_output<ls::leaky_relu<>> && reads_output<ls::softplus<>>);
static_assert(reads_input<ls::gelu<>> && reads_input<ls::gelu<ls::approximate_tanh>> && reads_input<ls::silu>);
// Two inputs may have one output there.
static_assert(reads_input<ls::leaky_relu<-0.1>> && reads_input<ls::elu<-1>> && reads_input<ls::softplus<1, 2>>);

/// A layer where its input has a gradient and where it has none, in one place of two, on pictures in the backend's
/// order, and where the relu of a layer before it is fused.
template <class Layer>
void check_layer() {
  INFO(Layer::kind);
  check_gradients<regression<input<5>, linear<17>, Layer, linear<3>>>();
  check_gradients<regression<input<5>, Layer, linear<3>>>();
  check_gradients<regression<input<5>, linear<6>, Layer>>();
  check_gradients<regression<input<5>, linear<6>, ls::relu, Layer, Layer, linear<3>>>();
  check_gradients<regression<input<2, 4, 4>, conv2d<3, 3>, Layer, conv2d<2, 1>, ls::flatten, Layer, linear<2>>>();
  check_gradients<regression<input<3, 4>, Layer, ls::flatten, linear<2>>>();
}

}  // namespace

TEST_CASE("gradients of sigmoid, tanh and silu") {
  check_layer<ls::sigmoid>();
  check_layer<ls::tanh>();
  check_layer<ls::silu>();
}

TEST_CASE("gradients of gelu") {
  check_layer<ls::gelu<>>();
  check_layer<ls::gelu<ls::approximate_tanh>>();
}

TEST_CASE("gradients of leaky_relu and elu") {
  check_layer<ls::leaky_relu<>>();
  check_layer<ls::leaky_relu<-0.25>>();
  check_layer<ls::elu<>>();
  check_layer<ls::elu<-0.5>>();
}

TEST_CASE("gradients of softplus") {
  check_layer<ls::softplus<>>();
  check_layer<ls::softplus<2.5, 16>>();
  check_layer<ls::softplus<-1, 3>>();
}

TEST_CASE("activations in more samples than one micro-shard holds") {
  check_gradients<regression<input<5>, linear<9>, ls::gelu<>, linear<9>, ls::tanh, linear<3>>>({}, {.samples = 300});
}
