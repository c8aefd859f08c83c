// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Convolutions, pooling and changes of extents against their definitions.

#include <lockstep/inference.hpp>

#include "inference/inference_support.hpp"
#include "support/catch.hpp"

namespace ls = lockstep;
using lockstep_test::require_layers;

TEST_CASE("inference: convolutions of few and of many channels", "[inference]") {
  require_layers<ls::input<1, 12, 12>, ls::conv2d<6, 5>>();
  require_layers<ls::input<1, 28, 28>, ls::conv2d<6, 5>, ls::relu, ls::conv2d<16, 5>, ls::relu>();
  require_layers<ls::input<3, 9, 11>, ls::conv2d<1, 3, ls::padding<1>>>();
  require_layers<ls::input<3, 9, 11>, ls::conv2d<5, 1>>();
  require_layers<ls::input<2, 40, 30>, ls::conv2d<4, 3, ls::padding<1>>, ls::conv2d<3, 3, ls::dilation<2>>>();
  require_layers<ls::input<3, 8, 8>, ls::conv2d<16, 3, ls::padding<1>>, ls::relu, ls::conv2d<48, 3, ls::padding<1>>>();
  require_layers<ls::input<5, 6, 7>, ls::conv2d<33, ls::extent2{3, 2}>, ls::conv2d<64, 1>>();
  require_layers<ls::input<5, 6, 7>, ls::conv2d<40, 3, ls::no_bias>, ls::conv2d<7, 2>>();
}

TEST_CASE("inference: convolutions with strides, dilations, padding and groups", "[inference]") {
  require_layers<ls::input<3, 9, 11>, ls::conv2d<8, 3, ls::stride<2>>>();
  require_layers<ls::input<3, 9, 11>, ls::conv2d<20, 3, ls::stride<ls::extent2{2, 3}>, ls::padding<1>>>();
  require_layers<ls::input<3, 9, 11>, ls::conv2d<20, 3, ls::dilation<ls::extent2{1, 2}>, ls::padding<2>>>();
  require_layers<ls::input<4, 9, 11>, ls::conv2d<6, 3, ls::groups<2>, ls::padding<1>>, ls::relu, ls::conv2d<4, 1>>();
  require_layers<ls::input<4, 9, 11>, ls::conv2d<20, 1>, ls::conv2d<20, 3, ls::groups<20>, ls::padding<1>>>();
  require_layers<ls::input<3, 5, 60>, ls::conv2d<17, 3, ls::padding<1>>>();
}

TEST_CASE("inference: signals", "[inference]") {
  require_layers<ls::input<3, 64>, ls::conv1d<16, 5, ls::stride<2>, ls::padding<2>>, ls::relu, ls::max_pool1d<2>,
                 ls::conv1d<32, 3, ls::dilation<2>>, ls::relu, ls::flatten, ls::linear<4>>();
  require_layers<ls::input<1, 100>, ls::conv1d<4, 7>, ls::tanh, ls::avg_pool1d<2>, ls::conv1d<1, 3>>();
}

TEST_CASE("inference: pooling", "[inference]") {
  require_layers<ls::input<3, 8, 9>, ls::max_pool2d<2>>();
  require_layers<ls::input<3, 8, 9>, ls::avg_pool2d<3, ls::stride<2>, ls::padding<1>>>();
  require_layers<ls::input<3, 8, 9>, ls::avg_pool2d<3, ls::padding<1>, ls::exclude_padding>>();
  require_layers<ls::input<3, 8, 9>, ls::conv2d<20, 3>, ls::max_pool2d<3, ls::stride<1>, ls::padding<1>>>();
  require_layers<ls::input<3, 8, 9>, ls::conv2d<20, 3>, ls::avg_pool2d<2>, ls::flatten, ls::linear<3>>();
  require_layers<ls::input<2, 41, 71>, ls::conv2d<3, 3>, ls::relu, ls::max_pool2d<2>, ls::max_pool2d<2>>();
  require_layers<ls::input<2, 40, 70>, ls::conv2d<3, 3>, ls::avg_pool2d<2>, ls::flatten, ls::linear<3>>();
}

TEST_CASE("inference: other extents", "[inference]") {
  require_layers<ls::input<3, 8, 9>, ls::adaptive_avg_pool2d<1>, ls::flatten, ls::linear<2>>();
  require_layers<ls::input<3, 8, 9>, ls::conv2d<20, 3>, ls::adaptive_avg_pool2d<3, 2>>();
  require_layers<ls::input<3, 4, 5>, ls::upsample<2>>();
  require_layers<ls::input<3, 4, 5>, ls::conv2d<5, 1>, ls::upsample<2, ls::bilinear>>();
}
