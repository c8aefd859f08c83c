// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <lockstep/backend/reference/reference.hpp>
#include <lockstep/lockstep.hpp>

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

}  // namespace lockstep_test
