// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include <lockstep/nn/adaptive_avg_pool2d.hpp>
#include <lockstep/nn/upsample.hpp>

#include <lockstep/nn/activation.hpp>
#include <lockstep/nn/concat.hpp>
#include <lockstep/nn/conv2d.hpp>
#include <lockstep/nn/flatten.hpp>
#include <lockstep/nn/linear.hpp>
#include <lockstep/nn/mean_rows.hpp>
#include <lockstep/nn/pixel_rows.hpp>
#include <lockstep/nn/residual.hpp>

#include "nn/support.hpp"

// Layers that give pictures other extents.

namespace {

using namespace lockstep_test;
using ls::adaptive_avg_pool2d;
using ls::bilinear;
using ls::conv2d;
using ls::dims;
using ls::extent2;
using ls::input;
using ls::upsample;
using ls::upsample_to;

static_assert(ls::layer<adaptive_avg_pool2d<1>>);
static_assert(ls::layer<upsample<2>>);
static_assert(adaptive_avg_pool2d<3>::output(dims{4, 7, 8}) == dims{4, 3, 3});
static_assert(adaptive_avg_pool2d<9, 2>::output(dims{4, 7, 8}) == dims{4, 9, 2});
static_assert(upsample<2>::output(dims{4, 7, 8}) == dims{4, 14, 16});
static_assert(upsample<extent2{1, 3}, bilinear>::output(dims{4, 7, 8}) == dims{4, 7, 24});
static_assert(upsample_to<extent2{5, 20}>::output(dims{4, 7, 8}) == dims{4, 5, 20});
static_assert(upsample<2>::parameters(dims{4, 7, 8}).count == 0);

static_assert(ls::layer<ls::pixel_rows> && ls::layer<ls::mean_rows>);
static_assert(ls::pixel_rows::output(dims{4, 7, 8}) == dims{56, 4});
static_assert(ls::mean_rows::output(dims{7, 8}) == dims{8});

template <class Input, std::int64_t Channels, class Layer>
using behind = regression<Input, conv2d<Channels, 1>, Layer>;

}  // namespace

TEST_CASE("adaptive_avg_pool2d: bins that divide the picture, that share pixels, and more of them than pixels") {
  check_gradients<behind<input<2, 4, 6>, 3, adaptive_avg_pool2d<1>>>();
  check_gradients<behind<input<2, 4, 6>, 3, adaptive_avg_pool2d<2, 3>>>();
  check_gradients<behind<input<2, 5, 7>, 3, adaptive_avg_pool2d<3, 4>>>();
  check_gradients<behind<input<2, 2, 3>, 3, adaptive_avg_pool2d<5, 3>>>();
  check_gradients<
      regression<input<2, 4, 5>, conv2d<5, 2>, ls::relu, adaptive_avg_pool2d<1>, ls::flatten, ls::linear<2>>>();
}

TEST_CASE("upsample: every option") {
  check_gradients<behind<input<2, 3, 2>, 3, upsample<2>>>();
  check_gradients<behind<input<2, 3, 2>, 3, upsample<extent2{3, 1}, ls::nearest>>>();
  check_gradients<behind<input<2, 3, 4>, 3, upsample<2, bilinear>>>();
  check_gradients<behind<input<2, 2, 3>, 3, upsample<extent2{1, 3}, ls::align_corners, bilinear>>>();
  check_gradients<behind<input<2, 3, 3>, 1, upsample<2, bilinear>>>();
}

TEST_CASE("upsample_to: larger and smaller pictures") {
  check_gradients<behind<input<2, 3, 5>, 3, upsample_to<extent2{4, 3}>>>();
  check_gradients<behind<input<2, 3, 5>, 3, upsample_to<extent2{4, 3}, bilinear>>>();
  check_gradients<behind<input<2, 3, 5>, 3, upsample_to<extent2{5, 3}, bilinear, ls::align_corners>>>();
  check_gradients<behind<input<2, 3, 2>, 3, upsample_to<1, bilinear>>>();
}

TEST_CASE("pixel_rows and mean_rows: of a relu's picture, of one that others read, of one channel, of the input") {
  using ls::linear, ls::mean_rows, ls::pixel_rows;
  check_gradients<
      regression<input<2, 4, 6>, conv2d<3, 2, ls::stride<2>>, ls::relu, pixel_rows, linear<4>, mean_rows>>();
  check_gradients<regression<input<2, 2, 3>, conv2d<3, 1>,
                             ls::concat<ls::sequential<pixel_rows, linear<2>, ls::flatten>, ls::flatten>, linear<2>>>();
  check_gradients<regression<input<2, 3, 2>, conv2d<1, 1>, pixel_rows, ls::residual<linear<1>>, mean_rows>>();
  check_gradients<regression<input<2, 3, 2>, pixel_rows, linear<3>, mean_rows>>();
}
