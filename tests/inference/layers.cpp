// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Every kernel against the definition of the layer, which the reference backend computes in double.

#include <lockstep/inference.hpp>

#include "inference/inference_support.hpp"
#include "support/catch.hpp"

namespace ls = lockstep;
using lockstep_test::require_layers;

TEST_CASE("inference: fully connected layers of any extents", "[inference]") {
  require_layers<ls::input<16>, ls::linear<16>>();
  require_layers<ls::input<1>, ls::linear<1>>();
  require_layers<ls::input<64>, ls::linear<1>>();
  require_layers<ls::input<48>, ls::linear<64>, ls::relu, ls::linear<2>, ls::relu>();
  require_layers<ls::input<7>, ls::linear<100>, ls::relu, ls::linear<33>>();
  require_layers<ls::input<13>, ls::linear<300>, ls::relu, ls::linear<5>>();
  require_layers<ls::input<31>, ls::linear_without_bias<40>, ls::linear<23>>();
  require_layers<ls::input<5, 7>, ls::linear<19>, ls::relu, ls::linear<3>>();
  require_layers<ls::input<4, 8>, ls::linear<16>, ls::flatten, ls::linear<3>>();
}

TEST_CASE("inference: activations", "[inference]") {
  require_layers<ls::input<21>, ls::relu>();
  require_layers<ls::input<21>, ls::linear<37>, ls::tanh, ls::linear<5>>();
  require_layers<ls::input<21>, ls::gelu<>>();
  require_layers<ls::input<21>, ls::gelu<ls::approximate_tanh>>();
  require_layers<ls::input<21>, ls::silu, ls::sigmoid>();
  require_layers<ls::input<21>, ls::leaky_relu<>, ls::elu<>>();
  require_layers<ls::input<21>, ls::softplus<>>();
  require_layers<ls::input<3, 4, 5>, ls::conv2d<6, 3, ls::padding<1>>, ls::tanh, ls::flatten, ls::linear<4>>();
}

TEST_CASE("inference: softmax over rows, channels and features", "[inference]") {
  require_layers<ls::input<10>, ls::softmax>();
  require_layers<ls::input<33>, ls::linear<10>, ls::log_softmax>();
  require_layers<ls::input<4, 9>, ls::softmax>();
  require_layers<ls::input<3, 4, 5>, ls::log_softmax>();
  require_layers<ls::input<3, 4, 5>, ls::conv2d<20, 3>, ls::softmax>();
}

TEST_CASE("inference: dropout is the identity", "[inference]") {
  require_layers<ls::input<9>, ls::dropout<>>();
  require_layers<ls::input<9>, ls::linear<11>, ls::dropout<0.3>, ls::relu, ls::linear<2>>();
}

TEST_CASE("inference: normalisations of samples", "[inference]") {
  require_layers<ls::input<20>, ls::layer_norm<>, ls::relu>();
  require_layers<ls::input<3, 20>, ls::linear<21>, ls::layer_norm<>, ls::linear<4>>();
  require_layers<ls::input<3, 20>, ls::rms_norm<>>();
  require_layers<ls::input<4, 5, 6>, ls::layer_norm<>>();
  require_layers<ls::input<4, 5, 6>, ls::conv2d<20, 3>, ls::layer_norm<>, ls::relu, ls::flatten, ls::linear<3>>();
  require_layers<ls::input<4, 5, 6>, ls::conv2d<20, 3, ls::padding<1>>, ls::group_norm<5>, ls::relu,
                 ls::conv2d<3, 3>>();
  require_layers<ls::input<4, 5, 6>, ls::group_norm<2, ls::no_affine>>();
  require_layers<ls::input<12>, ls::layer_norm<ls::no_bias, ls::epsilon<1e-3>>, ls::rms_norm<ls::no_affine>>();
}

TEST_CASE("inference: batch normalisation, folded and alone", "[inference]") {
  require_layers<ls::input<11>, ls::batch_norm1d<>>();
  require_layers<ls::input<11>, ls::linear<17>, ls::batch_norm1d<>, ls::relu, ls::linear<3>>();
  require_layers<ls::input<64>, ls::linear<1>, ls::batch_norm1d<>>();
  require_layers<ls::input<3, 6, 7>, ls::batch_norm2d<>, ls::relu>();
  require_layers<ls::input<3, 6, 7>, ls::conv2d<10, 3>, ls::batch_norm2d<>, ls::relu, ls::conv2d<20, 3>,
                 ls::batch_norm2d<ls::no_affine>>();
  require_layers<ls::input<3, 6, 7>, ls::conv2d<10, 3>, ls::relu, ls::batch_norm2d<>, ls::flatten, ls::linear<2>>();
  require_layers<ls::input<3, 6, 20>, ls::conv2d<2, 3>, ls::relu, ls::batch_norm2d<>, ls::flatten, ls::linear<2>>();
}
