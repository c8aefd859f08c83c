// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include <lockstep/nn/conv_transpose2d.hpp>

#include <lockstep/nn/activation.hpp>
#include <lockstep/nn/conv2d.hpp>
#include <lockstep/nn/flatten.hpp>
#include <lockstep/nn/linear.hpp>

#include "nn/support.hpp"

namespace {

using namespace lockstep_test;
using ls::conv2d;
using ls::conv_transpose2d;
using ls::dims;
using ls::extent2;
using ls::input;

static_assert(ls::layer<conv_transpose2d<4, 3>>);
static_assert(conv_transpose2d<4, 3>::output(dims{2, 6, 7}) == dims{4, 8, 9});
static_assert(conv_transpose2d<4, 2, ls::stride<2>>::output(dims{2, 6, 7}) == dims{4, 12, 14});
static_assert(conv_transpose2d<4, 3, ls::stride<2>, ls::padding<1>, ls::output_padding<1>>::output(dims{2, 6, 7}) ==
              dims{4, 12, 14});
static_assert(conv_transpose2d<4, 3, ls::dilation<extent2{2, 3}>>::output(dims{2, 6, 7}) == dims{4, 10, 13});
static_assert(conv_transpose2d<4, extent2{3, 2}, ls::groups<2>>::parameters(dims{6, 8, 9}).items[0].shape ==
              dims{6, 2, 3, 2});
static_assert(conv_transpose2d<4, 3, ls::no_bias>::parameters(dims{2, 8, 9}).count == 1);
// A product and a sum for each input and each weight of its window.
static_assert(conv_transpose2d<4, extent2{3, 1}, ls::groups<2>>::flops(dims{2, 8, 9}) == 2 * (2 * 8 * 9) * (2 * 3));

/// The layer behind a 1x1 convolution, so that the gradient of its input is checked too.
template <class Input, std::int64_t Channels, class... Layers>
using behind = regression<Input, conv2d<Channels, 1>, Layers...>;

}  // namespace

TEST_CASE("conv_transpose2d: first in the network") {
  check_gradients<regression<input<3, 3, 2>, conv_transpose2d<2, 3>>>();
  check_gradients<regression<input<1, 2, 3>, conv_transpose2d<3, 2, ls::stride<2>>>>();
}

TEST_CASE("conv_transpose2d: one option at a time") {
  check_gradients<behind<input<2, 3, 4>, 3, conv_transpose2d<2, 1>>>();
  check_gradients<behind<input<2, 3, 4>, 3, conv_transpose2d<2, 3, ls::padding<1>>>>();
  check_gradients<behind<input<2, 3, 2>, 3, conv_transpose2d<2, 3, ls::stride<2>>>>();
  check_gradients<behind<input<2, 3, 2>, 3, conv_transpose2d<2, 3, ls::stride<2>, ls::output_padding<1>>>>();
  check_gradients<behind<input<2, 3, 2>, 3, conv_transpose2d<2, 2, ls::dilation<2>>>>();
  check_gradients<behind<input<2, 2, 2>, 4, conv_transpose2d<6, 3, ls::groups<2>>>>();
  check_gradients<behind<input<2, 2, 2>, 3, conv_transpose2d<3, 3, ls::groups<3>>>>();
  check_gradients<behind<input<2, 3, 2>, 3, conv_transpose2d<2, 3, ls::no_bias>>>();
}

TEST_CASE("conv_transpose2d: all options at once, heights unlike widths") {
  check_gradients<behind<
      input<2, 3, 2>, 4,
      conv_transpose2d<6, extent2{3, 2}, ls::stride<extent2{3, 1}>, ls::padding<extent2{1, 0}>,
                       ls::output_padding<extent2{2, 0}>, ls::dilation<extent2{1, 2}>, ls::groups<2>, ls::no_bias>>>();
}

TEST_CASE("conv_transpose2d: a relu fused into it") {
  check_gradients<behind<input<2, 3, 3>, 3, conv_transpose2d<4, 2, ls::stride<2>>, ls::relu>>();
  check_gradients<behind<input<2, 3, 3>, 3, conv_transpose2d<4, 2, ls::no_bias>, ls::relu, conv2d<2, 2>>>();
  check_gradients<regression<input<2, 2, 2>, conv_transpose2d<3, 2>, ls::relu, ls::flatten, ls::linear<3>>>();
}

TEST_CASE("conv_transpose2d: inputs and outputs without an order of their own") {
  // One channel, or one pixel: plain and channels-last are the same there.
  check_gradients<regression<input<4, 1, 1>, conv_transpose2d<3, 2>, conv2d<2, 1>>>();
  check_gradients<behind<input<2, 2, 2>, 3, conv_transpose2d<1, 2, ls::stride<2>>>>();
}

TEST_CASE("conv_transpose2d: initialisation bound follows the second extent of the weight, as in PyTorch") {
  CHECK(conv_transpose2d<4, 3>::parameters(dims{2, 8, 9}).items[0].bound == Approx(1 / std::sqrt(36.0)).epsilon(1e-14));
  CHECK(conv_transpose2d<4, 3, ls::groups<2>>::parameters(dims{2, 8, 9}).items[1].bound ==
        Approx(1 / std::sqrt(18.0)).epsilon(1e-14));
}
