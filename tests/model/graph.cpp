// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include <lockstep/model/plan_table.hpp>

#include "model/networks.hpp"
#include "model/plan_support.hpp"
#include "support/catch.hpp"
#include "support/user_layer.hpp"

namespace ls = lockstep;
using namespace lockstep_test;

namespace {

using list = std::vector<std::string>;
using edges = std::vector<std::vector<int>>;
using plain = ls::reference<double>;

template <class... Layers>
using picture_net = ls::model<ls::sequential<Layers...>, ls::input<2, 6, 6>, ls::mean_squared_error>;
template <class... Layers>
using row_net = ls::model<ls::sequential<Layers...>, ls::input<6>, ls::mean_squared_error>;

/// A user's layer, which gets plain order.
struct user_layer : same_extents {
  static constexpr std::string_view kind = "user_layer";
};

/// How many elements a value of `size` elements takes in the arena, by the rule that ranges begin on cache lines.
constexpr std::int64_t lines(std::int64_t size) { return (size + 15) / 16 * 16; }

}  // namespace

TEST_CASE("parameters of branches are named as PyTorch's modules name them", "[graph]") {
  CHECK(parameter_names<small_resnet, ls::cpu>() ==
        list{"0.weight", "0.bias", "layer1.0.0.conv1.weight", "layer1.0.0.conv1.bias", "layer1.0.0.conv2.weight",
             "layer1.0.0.conv2.bias", "layer1.1.0.conv1.weight", "layer1.1.0.conv1.bias", "layer1.1.0.conv2.weight",
             "layer1.1.0.conv2.bias", "layer2.0.0.weight", "layer2.0.0.bias", "layer2.0.2.weight", "layer2.0.2.bias",
             "layer2.0.shortcut.weight", "layer2.0.shortcut.bias", "fc.weight", "fc.bias"});
  CHECK(parameter_names<small_resnet, plain>() == parameter_names<small_resnet, ls::cpu>());

  // A name of no characters adds nothing: torchvision's names of a residual network.
  using conv = ls::conv2d<4, 3, ls::padding<1>, ls::no_bias>;
  using body = ls::sequential<ls::named<"conv1", conv>, ls::relu, ls::named<"conv2", conv>>;
  using downsample = ls::named<"downsample", ls::sequential<ls::conv2d<4, 1, ls::no_bias>>>;
  using first = ls::sequential<ls::named<"", ls::residual<body, downsample>>, ls::relu>;
  using second = ls::sequential<ls::named<"", ls::residual<body>>, ls::relu>;
  CHECK(parameter_names<picture_net<ls::named<"layer1", ls::sequential<first, second>>>, plain>() ==
        list{"layer1.0.conv1.weight", "layer1.0.conv2.weight", "layer1.0.downsample.0.weight", "layer1.1.conv1.weight",
             "layer1.1.conv2.weight"});

  using one = ls::linear_without_bias<6>;
  CHECK(parameter_names<row_net<ls::sum<one, ls::identity, ls::named<"own", one>, ls::sequential<ls::relu, one>>>,
                        plain>() == list{"0.0.weight", "0.own.weight", "0.3.1.weight"});
  CHECK(parameter_names<row_net<ls::named<"cat", ls::concat<ls::identity, one, ls::sum<one, one>>>>, plain>() ==
        list{"cat.1.weight", "cat.2.0.weight", "cat.2.1.weight"});
  CHECK(
      parameter_names<row_net<ls::repeat<3, one>, ls::named<"blocks", ls::repeat<2, ls::named<"fc", one>>>>, plain>() ==
      list{"0.0.weight", "0.1.weight", "0.2.weight", "blocks.0.fc.weight", "blocks.1.fc.weight"});

  // A tied layer has its own name wherever it stands, and has it once.
  using shared = ls::tied<"shared", one>;
  CHECK(parameter_names<row_net<one, ls::named<"deep", ls::sequential<one, shared>>, shared>, plain>() ==
        list{"0.weight", "deep.0.weight", "shared.weight"});
  CHECK(parameter_names<tied_layers, plain>() ==
        list{"0.weight", "0.bias", "shared.weight", "shared.bias", "4.weight", "4.bias"});
}

TEST_CASE("branches read the same value, and a junction reads them in the order in which they are written", "[graph]") {
  using one = ls::linear<6>;
  using sums = row_net<ls::sum<one, ls::identity, one>>;
  CHECK(nodes<sums, plain>() == list{"linear", "linear", "sum", "sum"});
  CHECK(reads<sums, plain>() == edges{{-1}, {-1}, {0, -1}, {2, 1}});  // from left to right

  using concats = row_net<one, ls::concat<ls::identity, one, ls::identity>>;
  CHECK(nodes<concats, plain>() == list{"linear", "linear", "concat"});
  CHECK(reads<concats, plain>() == edges{{-1}, {0}, {0, 1, 0}});
  CHECK(concats::output_dims == ls::dims{18});

  // y = shortcut(x) + body(x), where the body runs first.
  using residuals = row_net<one, ls::residual<ls::sequential<one, one>, one>>;
  CHECK(reads<residuals, plain>() == edges{{-1}, {0}, {1}, {0}, {3, 2}});
  using with_identity = row_net<one, ls::residual<one>>;
  CHECK(reads<with_identity, plain>() == edges{{-1}, {0}, {0, 1}});

  using pictures = picture_net<ls::concat<conv3<3>, ls::identity, conv3<1>>>;
  CHECK(pictures::output_dims == ls::dims{6, 6, 6});
}

TEST_CASE("an order is changed once for all readers", "[graph]") {
  // Three readers of the user's pictures.
  using one_way = picture_net<ls::sum<conv3<2>, conv3<2>, ls::identity>>;
  CHECK(nodes<one_way, ls::cpu>() == list{"to_channels_last", "conv2d", "conv2d", "sum", "sum", "to_plain"});
  CHECK(reads<one_way, ls::cpu>() == edges{{-1}, {0}, {0}, {1, 2}, {3, 0}, {4}});

  // Two layers that want plain order, and one that does not.
  using back = picture_net<conv3<2>, ls::sum<user_layer, user_layer, conv3<2>>>;
  CHECK(nodes<back, ls::cpu>() == list{"to_channels_last", "conv2d", "to_plain", "user_layer", "user_layer", "conv2d",
                                       "sum", "to_channels_last", "sum", "to_plain"});
  CHECK(reads<back, ls::cpu>() == edges{{-1}, {0}, {1}, {2}, {2}, {1}, {3, 4}, {6}, {7, 5}, {8}});
}

TEST_CASE("pictures are joined in the order in which they lie", "[graph]") {
  CHECK(nodes<small_unet, ls::cpu>() == list{"to_channels_last", "conv2d+relu", "conv2d+relu", "conv2d+relu", "concat",
                                             "conv2d", "concat", "relu", "conv2d", "to_plain"});
  CHECK(nodes<small_unet, plain>() ==
        list{"conv2d+relu", "conv2d+relu", "conv2d+relu", "concat", "conv2d", "concat", "relu", "conv2d"});
  CHECK(nodes<small_resnet, ls::cpu>() == list{"to_channels_last", "conv2d+relu", "conv2d+relu", "conv2d", "sum+relu",
                                               "conv2d+relu", "conv2d", "sum+relu", "conv2d+relu", "conv2d", "conv2d",
                                               "sum+relu", "avg_pool2d", "alias", "linear"});

  // Where nothing wants the backend's order, nothing changes it.
  CHECK(nodes<picture_net<ls::sum<user_layer, ls::identity>, ls::concat<user_layer, ls::identity>>, ls::cpu>() ==
        list{"user_layer", "sum", "user_layer", "concat"});
  // Flattened pictures in unlike orders can only be added in plain order.
  CHECK(nodes<picture_net<ls::sum<ls::flatten, ls::sequential<conv3<2>, ls::flatten>>>, ls::cpu>() ==
        list{"alias", "to_channels_last", "conv2d", "alias", "to_plain", "sum"});
  // The same holds of a concat: of pictures in the backend's order, of flattened ones in plain order.
  using of_pictures = picture_net<ls::concat<conv3<3>, ls::identity, conv3<1>>>;
  CHECK(nodes<of_pictures, ls::cpu>() == list{"to_channels_last", "conv2d", "conv2d", "concat", "to_plain"});
  CHECK(reads<of_pictures, ls::cpu>() == edges{{-1}, {0}, {0}, {1, 0, 2}, {3}});
  CHECK(nodes<picture_net<ls::concat<ls::flatten, ls::sequential<conv3<2>, ls::flatten>>>, ls::cpu>() ==
        list{"alias", "to_channels_last", "conv2d", "alias", "to_plain", "concat"});
  // In the same order they are added as they lie, and the layer behind reads them so.
  CHECK(nodes<picture_net<conv3<2>, ls::sum<ls::flatten, ls::sequential<conv3<2>, ls::flatten>>, ls::linear<3>>,
              ls::cpu>() == list{"to_channels_last", "conv2d", "alias", "conv2d", "alias", "sum", "linear"});
}

TEST_CASE("a relu becomes part of a sum, and of a layer whose value nobody else reads", "[graph]") {
  using one = ls::linear<6>;
  CHECK(nodes<row_net<ls::residual<one>, ls::relu, one>, plain>() == list{"linear", "sum+relu", "linear"});
  // Of three branches the last sum takes it.
  CHECK(nodes<row_net<ls::sum<one, one, one>, ls::relu>, plain>() ==
        list{"linear", "linear", "linear", "sum", "sum+relu"});

  // The sum is read by the relu and by the sum behind it.
  CHECK(nodes<row_net<ls::residual<one>, ls::residual<ls::relu>>, plain>() == list{"linear", "sum", "relu", "sum"});
  // So is the layer.
  CHECK(nodes<row_net<one, ls::residual<ls::relu>>, plain>() == list{"linear", "relu", "sum"});
  CHECK(nodes<row_net<one, ls::concat<ls::relu, ls::identity>>, plain>() == list{"linear", "relu", "concat"});
  CHECK(nodes<row_net<one, ls::sum<ls::relu, one>>, plain>() == list{"linear", "relu", "linear", "sum"});
  // A relu before the branches is read by both, and is part of the layer.
  CHECK(nodes<row_net<one, ls::relu, ls::residual<one>>, plain>() == list{"linear+relu", "linear", "sum"});
  // The user's input belongs to nobody.
  CHECK(nodes<row_net<ls::relu, one>, plain>() == list{"relu", "linear"});
  CHECK(nodes<row_net<ls::residual<ls::relu>>, plain>() == list{"relu", "sum"});
  // One relu, not two; and none into a concat.
  CHECK(nodes<row_net<ls::residual<one>, ls::relu, ls::relu>, plain>() == list{"linear", "sum+relu", "relu"});
  CHECK(nodes<row_net<ls::concat<one, one>, ls::relu>, plain>() == list{"linear", "linear", "concat", "relu"});
}

TEST_CASE("the mask of a relu moves to the next layer only where that reads the value alone", "[graph]") {
  using one = ls::linear<6>;
  const auto& chain = row_net<one, ls::relu, one>::plan<plain>;
  CHECK(chain.node(0).output_gradient_masked);
  CHECK(chain.node(1).mask_input);

  const auto& branches = row_net<one, ls::relu, ls::residual<one>>::plan<plain>;
  CHECK_FALSE(branches.node(0).output_gradient_masked);
  CHECK_FALSE(branches.node(1).mask_input);

  const auto& sum = row_net<one, ls::residual<one>, ls::relu, one>::plan<plain>;
  REQUIRE(sum.node(2).kind == ls::node_kind::sum);
  CHECK(sum.node(2).output_gradient_masked);
  CHECK(sum.node(3).mask_input);
}

TEST_CASE("a sum takes the memory of a value that nobody reads later", "[graph]") {
  using one = ls::linear<64>;
  using net = ls::model<ls::sequential<one, ls::residual<one>, ls::residual<ls::sequential<one, ls::relu, one>>>,
                        ls::input<64>, ls::mean_squared_error>;
  const auto& plan = net::plan<plain>;
  REQUIRE(nodes<net, plain>() == list{"linear", "linear", "sum", "linear+relu", "linear", "sum"});
  // Inference: both operands are dead after the sum, and it takes the first.
  CHECK(plan.node(2).inference_buffer == plan.node(0).inference_buffer);
  CHECK(plan.node(5).inference_buffer == plan.node(2).inference_buffer);
  // What a block carries, and two neighbours inside it.
  CHECK(plan.inference_arena_size == 3 * 64);
  // Training: the layer reads its input in backward, so that the sum takes what the layer writes.
  CHECK(plan.node(2).output_buffer == plan.node(1).output_buffer);
  CHECK(plan.node(2).output_buffer != plan.node(0).output_buffer);
  // Both operands of a sum have its gradient.
  CHECK(plan.node(5).gradient_buffer == plan.node(4).gradient_buffer);

  // Somebody reads both operands later: the sum needs memory of its own.
  using busy = ls::model<ls::sequential<one, ls::concat<ls::residual<one>, ls::sequential<one, one>>>, ls::input<64>,
                         ls::mean_squared_error>;
  const auto& other = busy::plan<plain>;
  REQUIRE(nodes<busy, plain>() == list{"linear", "linear", "sum", "linear", "linear", "concat"});
  CHECK(other.node(2).inference_buffer == other.node(1).inference_buffer);
  CHECK(other.node(2).inference_buffer != other.node(0).inference_buffer);

  // The user's input is never written to.
  using direct = ls::model<ls::residual<ls::identity>, ls::input<64>, ls::mean_squared_error>;
  CHECK(nodes<direct, plain>() == list{"sum"});
  CHECK(reads<direct, plain>() == edges{{-1, -1}});
  CHECK(direct::plan<plain>.node(0).output_buffer >= 0);
  CHECK(direct::plan<plain>.inference_arena_size == 64);
}

TEST_CASE("a long residual network needs no more memory in inference than a short one", "[graph]") {
  using one = ls::linear<20>;
  using body = ls::residual<ls::sequential<one, ls::relu, one>>;
  using net = ls::model<ls::repeat<12, body>, ls::input<20>, ls::mean_squared_error>;
  CHECK(net::plan<plain>.inference_arena_size == 3 * lines(20));
  CHECK(net::plan<plain>.node_count == 36);
}

TEST_CASE("tied parameters count once", "[graph]") {
  using one = ls::linear<6>;
  using shared = ls::tied<"shared", one>;
  using net = row_net<shared, ls::relu, one, ls::relu, shared, ls::residual<shared>>;
  STATIC_REQUIRE(net::parameter_count == 2 * (36 + 6));
  STATIC_REQUIRE(net::trainable_count == 2 * (36 + 6));
  const auto& plan = net::plan<plain>;
  CHECK(plan.parameter_count == net::parameter_count);
  CHECK(plan.trainable_count == net::trainable_count);
  CHECK(plan.parameter_tensors == 4);
  REQUIRE(nodes<net, plain>() == list{"linear+relu", "linear+relu", "linear", "linear", "sum"});
  for (const int i : {0, 2, 3}) CHECK(plan.node(i).parameter_offset == 0);
  CHECK(plan.node(1).parameter_offset == 42);
  CHECK_FALSE(plan.node(0).shares);
  CHECK(plan.node(2).shares);
  CHECK(plan.node(3).shares);
  // The last node's backward comes first, and is the one that may overwrite.
  CHECK(plan.node(0).adds_gradients);
  CHECK(plan.node(2).adds_gradients);
  CHECK_FALSE(plan.node(3).adds_gradients);

  // Frozen at one place, as a parameter of PyTorch is at all; they lie behind those that learn.
  using kept = ls::tied<"kept", one>;
  const auto check_frozen = []<class... Places>() {
    using frozen_net = row_net<Places...>;
    STATIC_REQUIRE(frozen_net::parameter_count == 2 * 42);
    STATIC_REQUIRE(frozen_net::trainable_count == 42);
    CHECK(frozen_net::template plan<plain>.trainable_count == 42);
    for (const int i : {0, 2, 3}) {
      CHECK(frozen_net::template plan<plain>.node(i).parameter_offset == 42);
      CHECK(frozen_net::template plan<plain>.node(i).frozen);
    }
  };
  check_frozen.operator()<kept, one, ls::frozen<kept>, kept>();
  check_frozen.operator()<ls::frozen<kept>, one, kept, kept>();
  check_frozen.operator()<kept, one, kept, ls::tied<"kept", ls::frozen<one>>>();
}

TEST_CASE("a table of the plan says what each node reads", "[graph]") {
  using net = row_net<ls::linear<6>, ls::named<"block", ls::residual<ls::sequential<ls::linear<6>, ls::relu>>>,
                      ls::concat<ls::identity, ls::linear<2>>>;
  const std::string table = ls::plan_table<net, plain>(1, 1);
  std::vector<std::string> rows;
  for (std::size_t at = table.find("node"); rows.size() < 6; at = table.find('\n', at) + 1)
    rows.push_back(table.substr(at, table.find('\n', at) - at));
  const std::size_t column = rows[0].find("reads");
  REQUIRE(column != std::string::npos);
  const auto cell = [&](std::size_t row) {
    const std::string rest = rows[row].substr(column);
    return rest.substr(0, rest.find("  "));
  };
  CHECK(cell(1) == "-");
  CHECK(cell(2) == "0");
  CHECK(cell(3) == "0, 1");
  CHECK(cell(4) == "2");
  CHECK(cell(5) == "2, 3");
  CHECK(rows[2].find("block.0") != std::string::npos);
  CHECK(rows[3].find("sum") != std::string::npos);
  CHECK(rows[5].find("concat") != std::string::npos);
}
