// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include <lockstep/nn/conv2d.hpp>

#include <lockstep/nn/activation.hpp>
#include <lockstep/nn/flatten.hpp>
#include <lockstep/nn/linear.hpp>

#include "nn/support.hpp"

namespace {

using namespace lockstep_test;
using ls::conv2d;
using ls::dims;
using ls::extent2;
using ls::input;

static_assert(ls::layer<conv2d<4, 3>>);
static_assert(conv2d<4, 3>::output(dims{2, 8, 9}) == dims{4, 6, 7});
static_assert(conv2d<4, 3, ls::padding<1>>::output(dims{2, 8, 9}) == dims{4, 8, 9});
static_assert(conv2d<4, 3, ls::stride<2>>::output(dims{2, 8, 9}) == dims{4, 3, 4});
static_assert(conv2d<4, 3, ls::dilation<2>>::output(dims{2, 8, 9}) == dims{4, 4, 5});
static_assert(conv2d<4, extent2{3, 1}, ls::stride<extent2{1, 2}>>::output(dims{2, 8, 9}) == dims{4, 6, 5});
static_assert(conv2d<4, extent2{3, 2}, ls::groups<2>>::parameters(dims{2, 8, 9}).items[0].shape == dims{4, 1, 3, 2});
static_assert(conv2d<4, 3>::parameters(dims{2, 8, 9}).size() == 76);
static_assert(conv2d<4, 3, ls::no_bias>::parameters(dims{2, 8, 9}).count == 1);
// A product and a sum for each output and each weight of its window.
static_assert(conv2d<4, extent2{3, 1}>::flops(dims{2, 8, 9}) == 2 * (4 * 6 * 9) * (2 * 3));
static_assert(conv2d<4, extent2{1, 5}, ls::groups<2>>::flops(dims{6, 8, 9}) == 2 * (4 * 8 * 5) * (3 * 5));

/// The layer behind a 1x1 convolution, so that the gradient of its input is checked too.
template <class Input, std::int64_t Channels, class... Layers>
using behind = regression<Input, conv2d<Channels, 1>, Layers...>;

}  // namespace

TEST_CASE("conv2d: first in the network") {
  check_gradients<regression<input<3, 4, 5>, conv2d<2, 3>>>();
  check_gradients<regression<input<1, 4, 4>, conv2d<3, 2>>>();
}

TEST_CASE("conv2d: one option at a time") {
  check_gradients<behind<input<2, 4, 5>, 3, conv2d<2, 1>>>();
  check_gradients<behind<input<2, 4, 5>, 3, conv2d<2, 3, ls::padding<1>>>>();
  check_gradients<behind<input<2, 5, 6>, 3, conv2d<2, 3, ls::stride<2>>>>();
  check_gradients<behind<input<2, 5, 6>, 3, conv2d<2, 2, ls::dilation<2>>>>();
  check_gradients<behind<input<2, 4, 4>, 4, conv2d<6, 3, ls::groups<2>>>>();
  check_gradients<behind<input<2, 4, 4>, 3, conv2d<3, 3, ls::padding<1>, ls::groups<3>>>>();
  check_gradients<behind<input<2, 4, 5>, 3, conv2d<2, 3, ls::no_bias>>>();
}

TEST_CASE("conv2d: all options at once, heights unlike widths") {
  check_gradients<behind<input<2, 7, 6>, 4,
                         conv2d<6, extent2{3, 2}, ls::stride<extent2{2, 1}>, ls::padding<extent2{1, 0}>,
                                ls::dilation<extent2{1, 2}>, ls::groups<2>, ls::no_bias>>>();
  check_gradients<behind<
      input<2, 5, 7>, 3,
      conv2d<4, extent2{1, 3}, ls::dilation<extent2{1, 2}>, ls::stride<extent2{1, 2}>, ls::padding<extent2{0, 2}>>>>();
}

TEST_CASE("conv2d: a relu fused into it") {
  check_gradients<behind<input<2, 4, 4>, 3, conv2d<4, 3, ls::padding<1>>, ls::relu>>();
  check_gradients<regression<input<2, 4, 4>, conv2d<4, 3, ls::padding<1>>, ls::relu, conv2d<2, 2>>>();
  check_gradients<regression<input<2, 4, 4>, conv2d<3, 3>, ls::relu, ls::flatten, ls::linear<3>>>();
}

TEST_CASE("conv2d: outputs without an order of their own") {
  // One channel, or one pixel: plain and channels-last are the same there.
  check_gradients<regression<input<2, 3, 4>, conv2d<1, 2>, conv2d<2, 2>>>();
  check_gradients<regression<input<2, 3, 3>, conv2d<4, 3>, conv2d<3, 1>, ls::flatten, ls::linear<2>>>();
}

TEST_CASE("conv2d: initialisation bound is 1 over the root of a window's elements, as in PyTorch") {
  CHECK(conv2d<4, 3>::parameters(dims{2, 8, 9}).items[0].bound == Approx(1 / std::sqrt(18.0)).epsilon(1e-14));
  CHECK(conv2d<4, 3, ls::groups<2>>::parameters(dims{2, 8, 9}).items[1].bound ==
        Approx(1 / std::sqrt(9.0)).epsilon(1e-14));
}
