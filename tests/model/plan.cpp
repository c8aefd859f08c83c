// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "model/networks.hpp"
#include "model/plan_support.hpp"
#include "support/catch.hpp"

namespace ls = lockstep;
using namespace lockstep_test;

namespace {

using list = std::vector<std::string>;
using plain = ls::reference<double>;

}  // namespace

TEST_CASE("parameters are named as PyTorch names them", "[plan]") {
  CHECK(parameter_names<cnn, ls::cpu>() == list{"conv1.weight", "conv1.bias", "fc.weight", "fc.bias"});
  CHECK(parameter_names<cnn, plain>() == parameter_names<cnn, ls::cpu>());
  CHECK(parameter_names<mlp, plain>() == list{"0.weight", "0.bias", "2.weight", "2.bias", "4.weight", "4.bias"});
  CHECK(parameter_names<one_layer, plain>() == list{"fc.weight", "fc.bias"});

  using bare = ls::model<ls::linear<3>, ls::input<4>>;
  CHECK(parameter_names<bare, plain>() == list{"weight", "bias"});

  using block = ls::sequential<ls::conv2d<4, 3, ls::padding<1>, ls::no_bias>, ls::relu>;
  using nested = ls::model<
      ls::sequential<ls::named<"features", ls::sequential<block, ls::named<"second", block>, ls::max_pool2d<2>>>,
                     ls::flatten, ls::sequential<ls::linear<8>, ls::relu>,
                     ls::named<"head", ls::named<"fc", ls::linear_without_bias<2>>>>,
      ls::input<3, 4, 4>>;
  CHECK(parameter_names<nested, ls::cpu>() ==
        list{"features.0.0.weight", "features.second.0.weight", "2.0.weight", "2.0.bias", "head.fc.weight"});

  using r = ls::relu;
  using long_list = ls::model<ls::sequential<r, r, r, r, r, r, r, r, r, r, ls::linear<2>>, ls::input<3>>;
  CHECK(parameter_names<long_list, plain>() == list{"10.weight", "10.bias"});
}

TEST_CASE("parameters lie one behind the other", "[plan]") {
  STATIC_REQUIRE(cnn::parameter_count == 657'162);
  STATIC_REQUIRE(mlp::parameter_count == 784 * 512 + 512 + 512 * 256 + 256 + 256 * 10 + 10);
  STATIC_REQUIRE(only_flatten::parameter_count == 0);
  const auto check = []<class Model, class B>() {
    const auto& plan = Model::template plan<B>;
    std::int64_t next = 0;
    for (int p = 0; p < plan.parameter_tensors; ++p) {
      const auto& parameter = plan.parameters[static_cast<std::size_t>(p)];
      CHECK(parameter.offset == next);
      next += parameter.shape.size();
      const auto& node = plan.nodes[static_cast<std::size_t>(parameter.node)];
      CHECK(node.parameter_offset <= parameter.offset);
      CHECK(parameter.offset + parameter.shape.size() <= node.parameter_offset + node.parameter_size);
    }
    CHECK(next == plan.parameter_count);
    CHECK(next == Model::parameter_count);
  };
  check.operator()<cnn, ls::cpu>();
  check.operator()<cnn, plain>();
  check.operator()<mlp, ls::cpu>();
  check.operator()<deep, ls::cpu>();
  check.operator()<with_dropout, ls::cpu>();
  check.operator()<only_flatten, ls::cpu>();

  const auto& plan = cnn::plan<ls::cpu>;
  CHECK(plan.parameters[0].shape == ls::dims{64, 3, 3, 3});
  CHECK(plan.parameters[2].offset == 64 * 27 + 64);
  CHECK(plan.parameters[2].shape == ls::dims{10, 65536});
}

TEST_CASE("a relu becomes part of the convolution or product before it, of nothing else", "[plan]") {
  CHECK(nodes<cnn, plain>() == list{"conv2d+relu", "alias", "linear"});
  CHECK(nodes<mlp, ls::cpu>() == list{"linear+relu", "linear+relu", "linear"});
  CHECK(nodes<deep, plain>() == list{"conv2d+relu", "conv2d+relu", "max_pool2d", "relu", "conv2d+relu", "relu",
                                     "avg_pool2d", "conv2d", "alias", "linear+relu", "linear"});
  CHECK(nodes<relu_first, plain>() == list{"relu", "max_pool2d", "alias", "relu", "linear+relu"});
  CHECK(nodes<with_dropout, plain>() == list{"conv2d+relu", "dropout", "alias", "dropout", "linear+relu", "dropout",
                                             "linear", "dropout", "relu", "linear"});
}

TEST_CASE("the order of pictures changes once on the way in, and back where the user sees it", "[plan]") {
  CHECK(nodes<cnn, ls::cpu>() == list{"to_channels_last", "conv2d+relu", "alias", "linear"});
  CHECK(nodes<picture_output, ls::cpu>() == list{"to_channels_last", "conv2d+relu", "conv2d", "to_plain"});
  CHECK(nodes<picture_output, plain>() == list{"conv2d+relu", "conv2d"});
  CHECK(nodes<flat_pictures, ls::cpu>() == list{"to_channels_last", "max_pool2d", "conv2d+relu", "alias", "to_plain"});
  CHECK(nodes<only_flatten, ls::cpu>() == list{"alias"});
  CHECK(picture_output::output_dims == ls::dims{3, 5, 4});
  CHECK(picture_output::plan<ls::cpu>.output == ls::dims{3, 5, 4});
  CHECK(flat_pictures::plan<ls::cpu>.output == ls::dims{4 * 2 * 3});

  // One channel or one pixel: the two orders are the same, and nothing is moved.
  using gray = ls::model<ls::sequential<ls::conv2d<8, 5>, ls::relu, ls::flatten, ls::linear<10>>, ls::input<1, 5, 5>>;
  CHECK(nodes<gray, ls::cpu>() == list{"conv2d+relu", "alias", "linear"});

  // Normalised samples keep the order in which they come; groups of flattened channels want the plain one.
  using normalised =
      ls::model<ls::sequential<ls::group_norm<1>, ls::conv2d<8, 2>, ls::group_norm<2>, ls::relu, ls::layer_norm<>,
                               ls::conv2d<4, 2>, ls::flatten, ls::rms_norm<>, ls::group_norm<4>, ls::linear<10>>,
                ls::input<3, 5, 5>>;
  CHECK(nodes<normalised, ls::cpu>() == list{"group_norm", "to_channels_last", "conv2d", "group_norm+relu",
                                             "layer_norm", "conv2d", "alias", "rms_norm", "to_plain", "group_norm",
                                             "linear"});
}

TEST_CASE("no gradient is computed that nobody reads", "[plan]") {
  const auto& plan = relu_first::plan<plain>;  // relu, max_pool2d, alias, relu, linear+relu
  for (std::size_t i = 0; i < 4; ++i) {
    CHECK_FALSE(plan.nodes[i].runs_backward);
    CHECK(plan.nodes[i].gradient_buffer == ls::no_buffer);
  }
  CHECK(plan.nodes[4].runs_backward);
  CHECK_FALSE(plan.nodes[4].input_gradient);
  CHECK_FALSE(cnn::plan<ls::cpu>.nodes[0].runs_backward);
  CHECK_FALSE(cnn::plan<ls::cpu>.nodes[1].input_gradient);
  CHECK(cnn::plan<ls::cpu>.nodes[3].input_gradient);
}

TEST_CASE("work is counted", "[plan]") {
  const auto& plan = cnn::plan<plain>;
  const std::int64_t convolution = std::int64_t{2} * 64 * 32 * 32 * 27;
  const std::int64_t product = std::int64_t{2} * 65536 * 10;
  const std::int64_t relu = 64 * 32 * 32;
  CHECK(plan.forward_flops == convolution + relu + product);
  // Backward: the product's two gradients, the convolution's weight gradient (with the relu's mask) alone.
  CHECK(plan.training_flops == 2 * (convolution + relu) + 3 * product);
}
