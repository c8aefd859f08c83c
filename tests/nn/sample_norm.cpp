// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include <lockstep/nn/group_norm.hpp>
#include <lockstep/nn/layer_norm.hpp>
#include <lockstep/nn/rms_norm.hpp>

#include "model/networks.hpp"
#include "nn/support.hpp"

using namespace lockstep_test;

namespace {

static_assert(ls::layer<ls::layer_norm<>>);
static_assert(ls::layer_norm<>::parameters(ls::dims{7}).size() == 14);
static_assert(ls::layer_norm<>::parameters(ls::dims{5, 7}).items[0].shape == ls::dims{7});
static_assert(ls::layer_norm<>::parameters(ls::dims{2, 3, 4}).items[1].shape == ls::dims{2, 3, 4});
static_assert(ls::layer_norm<ls::no_bias>::parameters(ls::dims{7}).count == 1);
static_assert(ls::layer_norm<ls::no_affine>::parameters(ls::dims{7}).count == 0);
static_assert(ls::rms_norm<>::parameters(ls::dims{5, 7}).size() == 7);
static_assert(ls::rms_norm<>::options.epsilon_value == 0x1p-23);
static_assert(ls::group_norm<2>::parameters(ls::dims{4, 3, 3}).items[0].shape == ls::dims{4});
static_assert(ls::group_norm<2>::parameters(ls::dims{4, 9}).size() == 8);

constexpr settings several{.samples = 5};

// 19 and 37 elements: vectors, and elements after them.
template <class... Options>
using rows = regression<ls::input<7>, ls::linear<19>, ls::layer_norm<Options...>, ls::relu, ls::linear<37>,
                        ls::layer_norm<ls::epsilon<0.25>, Options...>, ls::linear<3>, ls::layer_norm<Options...>>;
template <class... Options>
using root_rows = regression<ls::input<7>, ls::linear<19>, ls::rms_norm<Options...>, ls::relu, ls::linear<37>,
                             ls::rms_norm<ls::epsilon<0.25>, Options...>, ls::linear<3>, ls::rms_norm<Options...>>;
using grouped_rows = regression<ls::input<7>, ls::linear<18>, ls::group_norm<3>, ls::linear<34>,
                                ls::group_norm<2, ls::no_bias>, ls::relu, ls::linear<4>, ls::group_norm<1>>;

// Pictures in the backend's order, whose weights lie in it too; the first comes in the user's.
using whole_pictures =
    regression<ls::input<2, 4, 3>, ls::layer_norm<>, ls::conv2d<3, 2>, ls::layer_norm<>, ls::relu, ls::conv2d<4, 1>,
               ls::rms_norm<>, ls::flatten, ls::layer_norm<ls::no_bias>, ls::linear<3>>;
// Channels that fill wide vectors, narrow ones, and none; flattened pictures in groups across their channels.
using grouped_pictures =
    regression<ls::input<4, 4, 4>, ls::group_norm<2>, conv3<16>, ls::group_norm<4>, ls::relu,
               ls::residual<ls::sequential<ls::conv2d<8, 1>, ls::group_norm<8, ls::epsilon<0.25>>, ls::relu,
                                           ls::conv2d<6, 1>, ls::group_norm<3, ls::no_affine>>,
                            ls::sequential<ls::conv2d<6, 1>, ls::group_norm<1, ls::no_bias>>>,
               ls::relu, ls::max_pool2d<2>, ls::flatten, ls::group_norm<4>, ls::linear<3>>;
// Everything in plain order: runs of pixels.
using plain_pictures = regression<ls::input<4, 5, 5>, ls::group_norm<2>, ls::relu, ls::flatten, ls::linear<2>>;

// Other micro-shards run between a forward pass and its backward.
using segments = regression<ls::input<6>, ls::linear<8>, ls::layer_norm<ls::epsilon<0.25>>, ls::relu,
                            ls::batch_norm1d<ls::epsilon<0.25>>, ls::linear<8>, ls::group_norm<2, ls::epsilon<0.25>>,
                            ls::batch_norm1d<ls::epsilon<0.25>>, ls::linear<2>>;
using shared = ls::tied<"norm", ls::layer_norm<>>;
using tied_norms =
    regression<ls::input<2, 4, 4>, ls::conv2d<3, 2>, shared, ls::conv2d<3, 1>, shared, ls::flatten, ls::linear<2>>;
using skippable_norms = regression<ls::input<2, 4, 4>, ls::conv2d<8, 2>, ls::skippable<ls::group_norm<2>>,
                                   ls::conv2d<3, 1>, ls::skippable<ls::layer_norm<>>, ls::flatten, ls::linear<2>>;

}  // namespace

TEST_CASE("gradients of layer normalisation", "[sample_norm]") {
  SECTION("rows") { check_gradients<rows<>>({}, several); }
  SECTION("rows without bias") { check_gradients<rows<ls::no_bias>>({}, several); }
  SECTION("rows without weight and bias") { check_gradients<rows<ls::no_affine>>({}, several); }
  SECTION("whole pictures") { check_gradients<whole_pictures>({}, several); }
}

TEST_CASE("gradients of division by the root mean square", "[sample_norm]") {
  SECTION("rows") { check_gradients<root_rows<>>({}, several); }
  SECTION("rows without weight") { check_gradients<root_rows<ls::no_affine>>({}, several); }
}

TEST_CASE("gradients of group normalisation", "[sample_norm]") {
  SECTION("rows") { check_gradients<grouped_rows>({}, several); }
  SECTION("pictures") { check_gradients<grouped_pictures>({}, several); }
  SECTION("pictures in plain order") { check_gradients<plain_pictures>({}, several); }
}

TEST_CASE("gradients of normalised samples in other places", "[sample_norm]") {
  SECTION("more samples than a block of rows has") { check_gradients<rows<>>({}, {.samples = 75}); }
  SECTION("among normalised batches") { check_gradients<segments>({}, several); }
  SECTION("tied") { check_gradients<tied_norms>({}, several); }
  SECTION("skippable") { check_gradients<skippable_norms>({}, several); }
}
