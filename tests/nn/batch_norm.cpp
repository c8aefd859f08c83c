// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include <lockstep/nn/batch_norm.hpp>

#include "model/networks.hpp"
#include "nn/support.hpp"

using namespace lockstep_test;

namespace {

/// Enough samples for a variance.
constexpr settings several{.samples = 5};

using first_norm = regression<ls::input<2, 4, 4>, ls::conv2d<3, 3>, ls::batch_norm2d<>, ls::relu, ls::conv2d<2, 2>,
                              ls::flatten, ls::linear<3>>;
using rows = regression<ls::input<7>, ls::linear<16>, ls::batch_norm1d<>, ls::relu, ls::linear<8>,
                        ls::batch_norm1d<ls::epsilon<0.1>, ls::no_affine>, ls::linear<3>, ls::batch_norm1d<>>;
// Sixteen channels, eight and five: wide vectors, narrow ones, and none.
using blocks = regression<
    ls::input<2, 4, 4>, conv3<16>, ls::batch_norm2d<>, ls::relu,
    ls::residual<ls::sequential<ls::conv2d<8, 1>, ls::batch_norm2d<>, ls::relu, ls::conv2d<5, 1>, ls::batch_norm2d<>>,
                 ls::sequential<ls::conv2d<5, 1>, ls::batch_norm2d<>>>,
    ls::relu, ls::max_pool2d<2>, ls::dropout<0.3>,
    ls::concat<ls::identity, ls::sequential<conv3<2>, ls::batch_norm2d<>>>, ls::relu, ls::flatten, ls::linear<3>>;
// Nothing learns before the first; the second's weight and bias do not learn.
using frozen_norms = regression<ls::input<2, 4, 4>, ls::batch_norm2d<>, ls::conv2d<3, 2>,
                                ls::batch_norm2d<ls::no_affine>, ls::relu, ls::flatten, ls::linear<2>>;

// One set of parameters in three segments.
using shared = ls::tied<"shared", ls::linear<4>>;
using tied_segments = regression<ls::input<3>, ls::linear<4>, shared, ls::batch_norm1d<>, ls::relu, shared,
                                 ls::batch_norm1d<>, ls::residual<shared>, ls::linear<2>>;

}  // namespace

TEST_CASE("gradients of batch normalisation", "[batch_norm]") {
  SECTION("pictures") { check_gradients<first_norm>({}, several); }
  SECTION("rows") { check_gradients<rows>({}, several); }
  SECTION("residual blocks") { check_gradients<blocks>({}, several); }
  SECTION("tied layers in several segments") { check_gradients<tied_segments>({}, several); }
  SECTION("where no gradient goes") { check_gradients<frozen_norms>({}, several); }
}
