// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <lockstep/model/model.hpp>
#include <lockstep/nn/activation.hpp>
#include <lockstep/nn/conv2d.hpp>
#include <lockstep/nn/dropout.hpp>
#include <lockstep/nn/flatten.hpp>
#include <lockstep/nn/frozen.hpp>
#include <lockstep/nn/linear.hpp>
#include <lockstep/nn/loss.hpp>
#include <lockstep/nn/pool2d.hpp>
#include <lockstep/nn/sequential.hpp>

/// \file
/// The networks of this folder's tests. Its headers include what they need alone: a CUDA compiler reads a file several
/// times.

namespace lockstep_test {

namespace ls = lockstep;

// Of golden/README.md.
using golden_linear =
    ls::model<ls::sequential<ls::named<"fc", ls::linear<10, 10>>>, ls::input<10>, ls::mean_squared_error>;
using golden_cnn = ls::model<ls::sequential<ls::named<"conv1", ls::conv2d<64, 3, ls::padding<1>>>, ls::relu,
                                            ls::flatten, ls::named<"fc", ls::linear<64 * 32 * 32, 10>>>,
                             ls::input<3, 32, 32>, ls::cross_entropy>;
using golden_mlp = ls::model<ls::sequential<ls::linear<784, 512>, ls::relu, ls::linear<256>, ls::relu, ls::linear<10>>,
                             ls::input<784>, ls::cross_entropy>;

/// Layers of every kind, and shards that begin off any alignment.
using classifier = ls::model<
    ls::sequential<ls::named<"conv1", ls::conv2d<4, 3, ls::padding<1>>>, ls::relu, ls::max_pool2d<2>, ls::flatten,
                   ls::dropout<0.25>, ls::named<"fc1", ls::linear<21>>, ls::relu, ls::named<"fc2", ls::linear<5>>>,
    ls::input<3, 7, 7>, ls::cross_entropy>;

using regression =
    ls::model<ls::sequential<ls::linear<9>, ls::relu, ls::frozen<ls::linear<3>>>, ls::input<5>, ls::mean_squared_error>;

}  // namespace lockstep_test
