// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <cstddef>
#include <string_view>
#include <tuple>
#include <type_traits>
#include <utility>

#include <lockstep/backend/reference/reference.hpp>
#include <lockstep/lockstep.hpp>

#include "support/user_layer.hpp"

/// \file
/// Networks of every kind that the planner treats in its own way.

namespace lockstep_test {

namespace ls = lockstep;

using mlp = ls::model<ls::sequential<ls::linear<784, 512>, ls::relu, ls::linear<256>, ls::relu, ls::linear<10>>,
                      ls::input<784>, ls::cross_entropy>;

using cnn = ls::model<ls::sequential<ls::named<"conv1", ls::conv2d<64, 3, ls::padding<1>>>, ls::relu, ls::flatten,
                                     ls::named<"fc", ls::linear<64 * 32 * 32, 10>>>,
                      ls::input<3, 32, 32>, ls::cross_entropy>;

// A relu behind a pooling and one behind a fused relu stand alone; the last pictures are of 1x1.
using deep = ls::model<ls::sequential<ls::conv2d<8, 3, ls::padding<1>>, ls::relu, ls::conv2d<8, 3, ls::padding<1>>,
                                      ls::relu, ls::max_pool2d<2>, ls::relu, ls::conv2d<16, 3, ls::stride<2>>, ls::relu,
                                      ls::relu, ls::avg_pool2d<2, ls::stride<1>>, ls::conv2d<6, 2>, ls::flatten,
                                      ls::linear<12>, ls::relu, ls::linear<10>>,
                       ls::input<3, 14, 14>, ls::cross_entropy>;

using with_dropout =
    ls::model<ls::sequential<ls::conv2d<4, 3>, ls::relu, ls::dropout<>, ls::flatten, ls::dropout<>, ls::linear<20>,
                             ls::relu, ls::dropout<>, ls::linear<20>, ls::dropout<>, ls::relu, ls::linear<3>>,
              ls::input<2, 6, 6>, ls::cross_entropy>;

using only_flatten = ls::model<ls::sequential<ls::flatten>, ls::input<2, 3, 4>, ls::mean_squared_error>;

using picture_output = ls::model<ls::sequential<ls::conv2d<5, 3>, ls::relu, ls::conv2d<3, 3, ls::padding<1>>>,
                                 ls::input<2, 7, 6>, ls::mean_squared_error>;

// Pictures that are flattened and left so: the order changes back behind the flatten.
using flat_pictures = ls::model<ls::sequential<ls::max_pool2d<2>, ls::conv2d<4, 3>, ls::relu, ls::flatten>,
                                ls::input<3, 8, 10>, ls::mean_squared_error>;

// Nothing to learn in front: no gradient goes there.
using relu_first =
    ls::model<ls::sequential<ls::relu, ls::max_pool2d<2>, ls::flatten, ls::relu, ls::linear<9>, ls::relu>,
              ls::input<3, 6, 6>, ls::mean_squared_error>;

using one_layer = ls::model<ls::named<"fc", ls::linear<10, 10>>, ls::input<10>, ls::mean_squared_error>;

template <int Channels>
using conv3 = ls::conv2d<Channels, 3, ls::padding<1>>;

// Blocks as in a residual network: the second changes the channels and the extents.
template <int Channels>
using block = ls::sequential<
    ls::residual<ls::sequential<ls::named<"conv1", conv3<Channels>>, ls::relu, ls::named<"conv2", conv3<Channels>>>>,
    ls::relu>;
using small_resnet = ls::model<
    ls::sequential<
        conv3<4>, ls::relu, ls::named<"layer1", ls::repeat<2, block<4>>>,
        ls::named<"layer2", ls::sequential<ls::residual<ls::sequential<ls::conv2d<6, 3, ls::stride<2>, ls::padding<1>>,
                                                                       ls::relu, conv3<6>>,
                                                        ls::conv2d<6, 1, ls::stride<2>>>,
                                           ls::relu>>,
        ls::avg_pool2d<3>, ls::flatten, ls::named<"fc", ls::linear<5>>>,
    ls::input<3, 6, 6>, ls::mean_squared_error>;

// The first values of a picture are read again after all that lies between, as in a U-Net.
using inner = ls::sequential<conv3<6>, ls::relu, conv3<5>, ls::relu>;
using small_unet = ls::model<ls::sequential<conv3<3>, ls::relu, ls::concat<ls::identity, inner>,
                                            ls::concat<conv3<2>, ls::identity>, ls::relu, conv3<2>>,
                             ls::input<2, 4, 5>, ls::mean_squared_error>;

// Branches without layers, a sum of four, layers that work in place, relus that several branches read.
using tangled = ls::model<
    ls::sequential<ls::linear<6>, ls::sum<ls::identity, ls::identity>, ls::relu,
                   ls::sum<ls::relu, ls::sequential<ls::dropout<0.25>, ls::relu>, ls::linear<6>, ls::identity>,
                   ls::residual<ls::residual<ls::sequential<ls::linear<6>, ls::relu>>>, ls::residual<ls::dropout<0.5>>,
                   ls::concat<ls::relu, ls::identity, ls::linear<3>>, ls::linear<4>>,
    ls::input<5>, ls::mean_squared_error>;

// Junctions of the user's own elements, and of flattened pictures in either order.
using at_the_edges = ls::model<ls::sequential<ls::sum<ls::identity, conv3<2>>, ls::relu,
                                              ls::sum<ls::flatten, ls::sequential<conv3<2>, ls::flatten>,
                                                      ls::sequential<ls::flatten, ls::linear<24>>>,
                                              ls::concat<ls::linear<2>, ls::linear<3>>>,
                               ls::input<2, 3, 4>, ls::mean_squared_error>;

// A layer that says nothing about itself, and so may leave anything in the gradient of its output.
struct untidy : same_extents {
  static constexpr std::string_view kind = "untidy";
};
using untidy_layers = ls::model<
    ls::sequential<ls::linear<6>, ls::sum<untidy, ls::identity>, ls::sum<ls::identity, untidy>,
                   ls::sum<untidy, untidy, ls::dropout<>>, ls::residual<ls::sequential<untidy, ls::relu>>, untidy>,
    ls::input<5>, ls::mean_squared_error>;

// The relu of a sum is masked by the layer behind it, whose gradient takes the place of the sum's value.
using masked_sums = ls::model<
    ls::sequential<ls::linear<6>, ls::residual<ls::linear<6>>, ls::relu, ls::linear<6>, ls::residual<ls::linear<6>>,
                   ls::relu, ls::dropout<0.25>, ls::residual<ls::linear<6>>, ls::relu, ls::linear<3>>,
    ls::input<5>, ls::mean_squared_error>;

// A tied layer reads flattened pictures at one place and rows at another.
using tied_over_pictures = ls::model<ls::sequential<ls::conv2d<3, 3>, ls::flatten, ls::tied<"shared", ls::linear<18>>,
                                                    ls::relu, ls::tied<"shared", ls::linear<18>>, ls::linear<2>>,
                                     ls::input<2, 4, 5>, ls::mean_squared_error>;

// Layers that do not learn read no input in backward, so that sums take its memory, and gradients then take theirs.
template <template <class> class F>
using branches_of =
    ls::model<ls::sequential<ls::linear<6>, ls::residual<F<ls::linear<6>>>, ls::relu, ls::linear<6>,
                             ls::sum<F<ls::linear<6>>, ls::identity, F<ls::linear<6>>>, ls::linear<6>,
                             ls::concat<F<ls::linear<6>>, ls::residual<F<ls::linear<6>>>>, ls::linear<3>>,
              ls::input<5>, ls::mean_squared_error>;
using frozen_branches = branches_of<ls::frozen>;

// One set of parameters at three places.
using shared_layer = ls::tied<"shared", ls::linear<4>>;
using tied_layers = ls::model<
    ls::sequential<ls::linear<4>, shared_layer, ls::relu, ls::residual<shared_layer>, ls::linear<4>, shared_layer>,
    ls::input<3>, ls::mean_squared_error>;

// Outputs that other layers read, that are another output, the user's input, a picture or a fused relu; a head that
// does not learn.
using two_losses = ls::losses<ls::cross_entropy, ls::mean_squared_error>;
using two_heads = ls::model<
    ls::sequential<ls::linear<6>, ls::relu, ls::outputs<ls::linear<3>, ls::sequential<ls::linear<7>, ls::relu>>>,
    ls::input<5>, two_losses>;
using picture_heads = ls::model<
    ls::sequential<conv3<4>, ls::relu,
                   ls::outputs<ls::sequential<ls::flatten, ls::linear<3>>, conv3<2>, ls::identity, ls::max_pool2d<2>>>,
    ls::input<2, 4, 6>,
    ls::losses<ls::cross_entropy, ls::mean_squared_error, ls::mean_squared_error,
               ls::weighted<0.5, ls::mean_squared_error>>>;
template <int Count>
using equal_losses = decltype([]<std::size_t... K>(std::index_sequence<K...>) {
  return ls::losses<
      std::tuple_element_t<0, std::tuple<ls::mean_squared_error, std::integral_constant<std::size_t, K>>>...>{};
}(std::make_index_sequence<Count>{}));
using tangled_heads =
    ls::model<ls::sequential<ls::linear<6>, ls::relu, ls::residual<ls::linear<6>>,
                             ls::outputs<ls::identity, ls::relu, ls::identity, ls::linear<6>, ls::frozen<ls::linear<2>>,
                                         ls::sequential<ls::relu, ls::dropout<0.25>>, ls::identity>>,
              ls::input<5>, equal_losses<7>>;
using input_as_output =
    ls::model<ls::outputs<ls::identity, ls::linear<2>, ls::identity>, ls::input<5>, equal_losses<3>>;
using frozen_heads =
    ls::model<ls::sequential<ls::frozen<ls::linear<6>>, ls::outputs<ls::frozen<ls::linear<2>>, ls::linear<2>>>,
              ls::input<5>, equal_losses<2>>;

}  // namespace lockstep_test
