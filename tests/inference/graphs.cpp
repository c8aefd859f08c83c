// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Networks that are no chains.

#include <lockstep/inference.hpp>

#include "inference/inference_support.hpp"
#include "support/catch.hpp"

namespace ls = lockstep;
using lockstep_test::require_layers;

namespace {

template <int Channels, int Stride = 1>
using conv3 = ls::conv2d<Channels, 3, ls::stride<Stride>, ls::padding<1>, ls::no_bias>;
template <int Channels, int Stride = 1>
using body = ls::sequential<ls::named<"conv1", conv3<Channels, Stride>>, ls::named<"bn1", ls::batch_norm2d<>>, ls::relu,
                            ls::named<"conv2", conv3<Channels>>, ls::named<"bn2", ls::batch_norm2d<>>>;
template <int Channels>
using block = ls::sequential<ls::named<"", ls::residual<body<Channels>>>, ls::relu>;
template <int Channels>
using wider = ls::sequential<
    ls::named<"", ls::residual<body<Channels, 2>,
                               ls::named<"downsample",
                                         ls::sequential<ls::conv2d<Channels, 1, ls::stride<2>>, ls::batch_norm2d<>>>>>,
    ls::relu>;
using resnet = ls::sequential<ls::named<"conv1", conv3<8>>, ls::named<"bn1", ls::batch_norm2d<>>, ls::relu,
                              ls::named<"layer1", ls::repeat<2, block<8>>>,
                              ls::named<"layer2", ls::sequential<wider<16>, block<16>>>, ls::avg_pool2d<4>, ls::flatten,
                              ls::named<"fc", ls::linear<10>>>;

}  // namespace

TEST_CASE("inference: a residual network with batch normalisation", "[inference]") {
  require_layers<ls::input<3, 8, 8>, resnet>(4e-6);
}

TEST_CASE("inference: sums and residuals", "[inference]") {
  require_layers<ls::input<9>, ls::residual<ls::linear<9>>>();
  require_layers<ls::input<9>, ls::linear<20>, ls::residual<ls::sequential<ls::linear<20>, ls::relu>>, ls::relu>();
  require_layers<ls::input<9>, ls::sum<ls::linear<5>, ls::linear<5>, ls::sequential<ls::linear<5>, ls::tanh>>>();
  require_layers<ls::input<3, 9>, ls::linear<20>, ls::residual<ls::sequential<ls::layer_norm<>, ls::linear<20>>>>();
  require_layers<ls::input<2, 20, 20>, ls::conv2d<3, 3, ls::padding<1>>,
                 ls::sum<ls::conv2d<4, 3, ls::padding<1>>, ls::conv2d<4, 1>>, ls::relu>();
  require_layers<ls::input<3, 9, 9>, ls::sum<ls::identity, ls::conv2d<3, 3, ls::padding<1>>>, ls::flatten,
                 ls::linear<2>>();
  require_layers<ls::input<3, 9, 9>, ls::sum<ls::sequential<ls::conv2d<4, 3>, ls::flatten>,
                                             ls::sequential<ls::flatten, ls::linear<196>>>>();
  require_layers<ls::input<6>, ls::sum<ls::identity, ls::identity>>();
}

TEST_CASE("inference: concatenations", "[inference]") {
  require_layers<ls::input<9>, ls::concat<ls::linear<5>, ls::identity>, ls::linear<3>>();
  require_layers<ls::input<3, 9, 9>, ls::conv2d<20, 3, ls::padding<1>>,
                 ls::concat<ls::identity, ls::conv2d<4, 3, ls::padding<1>>>, ls::conv2d<7, 3>>();
  require_layers<ls::input<2, 16, 16>, ls::concat<ls::identity, ls::conv2d<4, 3, ls::padding<1>>>, ls::flatten,
                 ls::linear<3>>();
  require_layers<ls::input<2, 6>, ls::concat<ls::identity, ls::linear<6>>, ls::linear<2>>();
}

TEST_CASE("inference: a U-Net", "[inference]") {
  using bottom = ls::sequential<ls::max_pool2d<2>, ls::conv2d<8, 3, ls::padding<1>>, ls::relu, ls::upsample<2>>;
  using inner = ls::sequential<ls::conv2d<8, 3, ls::padding<1>>, ls::relu, ls::concat<ls::identity, bottom>,
                               ls::conv2d<4, 3, ls::padding<1>>, ls::relu>;
  require_layers<ls::input<3, 16, 16>, ls::conv2d<4, 3, ls::padding<1>>, ls::relu, ls::concat<ls::identity, inner>,
                 ls::conv2d<2, 1>>();
}

TEST_CASE("inference: a relu and a sum do not melt into what others read", "[inference]") {
  require_layers<ls::input<9>, ls::linear<9>, ls::sum<ls::identity, ls::relu>>();
  require_layers<ls::input<9>, ls::linear<9>, ls::dropout<>,
                 ls::sum<ls::identity, ls::sequential<ls::dropout<>, ls::relu>>>();
  require_layers<ls::input<9>, ls::linear<9>, ls::sum<ls::identity, ls::batch_norm1d<>>>();
}

TEST_CASE("inference: repeated, tied, frozen, named and skippable layers", "[inference]") {
  using step = ls::tied<"step", ls::linear<32>>;
  require_layers<ls::input<8>, ls::linear<32>, ls::relu, step, ls::relu, step, ls::relu, ls::linear<4>>();
  require_layers<ls::input<8>, ls::repeat<3, ls::sequential<ls::linear<8>, ls::tanh>>>();
  require_layers<ls::input<8>, ls::frozen<ls::linear<8>>, ls::named<"last", ls::linear<3>>>();
  require_layers<ls::input<8>, ls::skippable<ls::linear<8>>, ls::skippable<ls::residual<ls::linear<8>>>,
                 ls::linear<3>>();
  require_layers<ls::input<8>, ls::skippable<ls::tanh>>();
}

TEST_CASE("inference: a network of many steps, whose equal layers share code", "[inference]") {
  using part = ls::sequential<ls::residual<ls::sequential<ls::linear<24>, ls::layer_norm<>, ls::tanh>>, ls::relu>;
  require_layers<ls::input<9>, ls::linear<24>, ls::repeat<9, part>>(1e-5);
  using picture_part =
      ls::sequential<ls::residual<ls::sequential<ls::conv2d<4, 3, ls::padding<1>>, ls::tanh>>, ls::gelu<>>;
  require_layers<ls::input<1, 9, 20>, ls::conv2d<4, 3>, ls::repeat<12, picture_part>, ls::flatten, ls::linear<2>>(1e-5);
}
