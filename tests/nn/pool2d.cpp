// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include <lockstep/nn/pool2d.hpp>

#include <lockstep/nn/activation.hpp>
#include <lockstep/nn/conv2d.hpp>
#include <lockstep/nn/flatten.hpp>
#include <lockstep/nn/linear.hpp>

#include "nn/support.hpp"

namespace {

using namespace lockstep_test;
using ls::avg_pool2d;
using ls::conv2d;
using ls::dims;
using ls::extent2;
using ls::input;
using ls::max_pool2d;

static_assert(ls::layer<max_pool2d<2>>);
static_assert(ls::layer<avg_pool2d<2>>);
static_assert(max_pool2d<2>::output(dims{3, 8, 9}) == dims{3, 4, 4});
static_assert(max_pool2d<3, ls::stride<1>>::output(dims{3, 8, 9}) == dims{3, 6, 7});
static_assert(avg_pool2d<3, ls::stride<2>, ls::padding<1>>::output(dims{3, 8, 9}) == dims{3, 4, 5});
static_assert(avg_pool2d<extent2{2, 3}>::output(dims{3, 8, 9}) == dims{3, 4, 3});
static_assert(max_pool2d<2>::parameters(dims{3, 8, 9}).count == 0);
// One operation for each element of each window.
static_assert(max_pool2d<extent2{2, 3}>::flops(dims{3, 8, 9}) == 3 * 4 * 3 * 6);
static_assert(avg_pool2d<extent2{4, 1}, ls::stride<1>>::flops(dims{3, 8, 9}) == 3 * 5 * 9 * 4);

template <class Input, std::int64_t Channels, class Pool>
using behind = regression<Input, conv2d<Channels, 1>, Pool>;

}  // namespace

TEST_CASE("max_pool2d: every option") {
  check_gradients<behind<input<2, 4, 6>, 3, max_pool2d<2>>>();
  check_gradients<behind<input<2, 5, 6>, 3, max_pool2d<3, ls::stride<2>, ls::padding<1>>>>();
  check_gradients<behind<input<2, 4, 4>, 1, max_pool2d<2, ls::stride<1>>>>();
  check_gradients<behind<input<2, 5, 6>, 3, max_pool2d<extent2{2, 3}, ls::stride<extent2{1, 2}>>>>();
}

TEST_CASE("avg_pool2d: every option") {
  check_gradients<behind<input<2, 4, 6>, 3, avg_pool2d<2>>>();
  check_gradients<behind<input<2, 5, 6>, 3, avg_pool2d<3, ls::stride<2>, ls::padding<1>>>>();
  check_gradients<behind<input<2, 5, 6>, 3, avg_pool2d<3, ls::stride<2>, ls::padding<1>, ls::exclude_padding>>>();
  check_gradients<behind<input<2, 4, 4>, 1, avg_pool2d<2, ls::stride<1>>>>();
  check_gradients<
      behind<input<2, 5, 6>, 3, avg_pool2d<extent2{2, 3}, ls::exclude_padding, ls::padding<extent2{1, 0}>>>>();
}

TEST_CASE("pooling before every layer with parameters has no gradient to give") {
  check_gradients<regression<input<2, 4, 4>, max_pool2d<2>, conv2d<2, 1>>>();
  check_gradients<regression<input<2, 4, 4>, avg_pool2d<2>, ls::flatten, ls::linear<3>>>();
}

TEST_CASE("pooling behind a fused relu, where equal elements meet") {
  check_gradients<
      regression<input<2, 4, 4>, conv2d<3, 3, ls::padding<1>>, ls::relu, max_pool2d<2>, ls::flatten, ls::linear<3>>>();
}

TEST_CASE("pooling down to one pixel") {
  check_gradients<regression<input<2, 3, 3>, conv2d<4, 1>, avg_pool2d<3>, ls::flatten, ls::linear<2>>>();
}
